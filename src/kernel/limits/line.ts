import { SharedBudget, Shares } from './shared-budget.ts';

/** Waiting callers by party: parties take turns, however many wait for each. */
class Line<T> {
  readonly #parties = new Map<string, T[]>();
  readonly #budget: SharedBudget;
  readonly #shares: Shares;

  /** @param most how many of one party may wait; of all together fewer than twice as many, each less the more there are */
  constructor(most: number) {
    this.#budget = new SharedBudget(2 * most);
    this.#shares = new Shares(most);
  }

  /** How many wait. */
  get size(): number {
    return this.#budget.used;
  }

  /** Whether a caller of this party waits. */
  has(party: string): boolean {
    return this.#parties.has(party);
  }

  /** @returns whether there was room */
  join(party: string, waiting: T): boolean {
    if (!this.#budget.take(1, this.#shares.of(party))) return false;
    const before = this.#parties.get(party);
    if (before === undefined) this.#parties.set(party, [waiting]);
    else before.push(waiting);
    return true;
  }

  /** Takes the next one out. */
  next(): T | undefined {
    for (const [party, waiting] of this.#parties) {
      const next = waiting.shift();
      this.#parties.delete(party);
      if (waiting.length > 0) this.#parties.set(party, waiting);
      this.#budget.give(1, this.#shares.of(party));
      return next;
    }
    return undefined;
  }
}

/** A waiting party (a user, a network), and whether it goes before those that are not preferred. */
export interface Place {
  readonly party: string;
  readonly isPreferred: boolean;
}

/** Of so many of one rank, one is left to the ranks after it, so that they do not wait for ever. */
const IN_A_ROW = 3;

/** Lines of which the first goes first. */
export class RankedLine<T> {
  readonly #ranks: readonly { readonly line: Line<T>; inARow: number }[];

  /** @param most how many of one party may wait in each rank, see `Line` */
  constructor(most: number, ranks: number) {
    this.#ranks = Array.from({ length: ranks }, () => ({ line: new Line<T>(most), inARow: 0 }));
  }

  get size(): number {
    return this.#ranks.reduce((sum, { line }) => sum + line.size, 0);
  }

  has(party: string): boolean {
    return this.#ranks.some(({ line }) => line.has(party));
  }

  /** Whether a caller waits that goes before, or at the same rank as, one that would join now. */
  hasBefore(rank: number): boolean {
    return this.#ranks.some(({ line }, index) => index <= rank && line.size > 0);
  }

  /** @returns whether there was room */
  join(party: string, rank: number, waiting: T): boolean {
    return this.#ranks[rank]?.line.join(party, waiting) ?? false;
  }

  /** Takes the next one out. */
  next(): T | undefined {
    const waiting = this.#ranks.filter(({ line }) => line.size > 0);
    const last = waiting.at(-1);
    for (const rank of waiting) {
      if (rank !== last && rank.inARow >= IN_A_ROW) {
        rank.inARow = 0;
        continue;
      }
      rank.inARow = rank === last ? 0 : rank.inARow + 1;
      return rank.line.next();
    }
    return undefined;
  }
}
