import { SharedBudget, Shares } from './shared-budget.ts';

/** Those who wait, by party: parties take turns, however many wait for each. */
export class Line<T> {
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

  /** Whether anyone of this party waits. */
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

/** Who waits: a party (a user, a network), and whether it goes before those that are not preferred. */
export interface Place {
  readonly party: string;
  readonly isPreferred: boolean;
}

/** Of so many that the preferred take, one is left to the others, so that they do not wait for ever. */
const PREFERRED_IN_A_ROW = 3;

/** Two lines, of which one goes first. */
export class PreferringLine<T> {
  readonly #preferred: Line<T>;
  readonly #others: Line<T>;
  #inARow = 0;

  /** @param most how many of one party may wait in each, see `Line` */
  constructor(most: number) {
    this.#preferred = new Line(most);
    this.#others = new Line(most);
  }

  get size(): number {
    return this.#preferred.size + this.#others.size;
  }

  has(party: string): boolean {
    return this.#preferred.has(party) || this.#others.has(party);
  }

  /** @returns whether there was room */
  join({ party, isPreferred }: Place, waiting: T): boolean {
    return (isPreferred ? this.#preferred : this.#others).join(party, waiting);
  }

  /** Takes the next one out. */
  next(): T | undefined {
    const isTheirTurn = this.#inARow >= PREFERRED_IN_A_ROW && this.#others.size > 0;
    const next = isTheirTurn ? undefined : this.#preferred.next();
    this.#inARow = next === undefined ? 0 : this.#inARow + 1;
    return next ?? this.#others.next();
  }
}
