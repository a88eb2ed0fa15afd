import { SharedBudget, Shares } from './shared-budget.ts';

/** Whose turn it is to wait for: a party (a user, a network), and whether it goes before those that are not preferred. */
export interface Place {
  readonly party: string;
  /** Known to be somebody whom this server serves already. */
  readonly isPreferred: boolean;
}

export interface FairGateOptions {
  /** How many pass at once. */
  readonly concurrency: number;
  /** How many of one party may wait in each of the two lines; of all together fewer than twice as many, each less the more there are. */
  readonly maxWaiting: number;
}

/** One line: parties take turns, however many wait for each. */
class Line {
  readonly #parties = new Map<string, (() => void)[]>();
  readonly #budget: SharedBudget;
  readonly #shares: Shares;

  constructor(maxWaiting: number) {
    // Half of it at most goes to one party, also when nobody else waits.
    this.#budget = new SharedBudget(2 * maxWaiting);
    this.#shares = new Shares(maxWaiting);
  }

  get size(): number {
    return this.#budget.used;
  }

  /** @returns whether there was room */
  join(party: string, begin: () => void): boolean {
    if (!this.#budget.take(1, this.#shares.of(party))) return false;
    const waiting = this.#parties.get(party);
    if (waiting === undefined) this.#parties.set(party, [begin]);
    else waiting.push(begin);
    return true;
  }

  /** Takes out whoever is next. */
  next(): (() => void) | undefined {
    for (const [party, waiting] of this.#parties) {
      const begin = waiting.shift();
      this.#parties.delete(party);
      if (waiting.length > 0) this.#parties.set(party, waiting);
      this.#budget.give(1, this.#shares.of(party));
      return begin;
    }
    return undefined;
  }
}

/** Of so many that the preferred take, one is left to the others, so that they do not wait for ever. */
const PREFERRED_IN_A_ROW = 3;

/** Lets only so many through at once. The others wait in line, where parties take turns: whoever asks for much waits for themselves. */
export class FairGate {
  readonly #preferred: Line;
  readonly #others: Line;
  #free: number;
  #inARow = 0;

  constructor({ concurrency, maxWaiting }: FairGateOptions) {
    this.#free = concurrency;
    this.#preferred = new Line(maxWaiting);
    this.#others = new Line(maxWaiting);
  }

  /** How many wait. */
  get waiting(): number {
    return this.#preferred.size + this.#others.size;
  }

  /**
   * Runs `work` when it is its turn.
   *
   * @param onFull makes the error to throw when too many wait already
   */
  async run<T>({ party, isPreferred }: Place, work: () => Promise<T>, onFull: () => Error): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else {
      await new Promise<void>((resolve, reject) => {
        const line = isPreferred ? this.#preferred : this.#others;
        if (!line.join(party, resolve)) reject(onFull());
      });
    }
    try {
      return await work();
    } finally {
      // Whoever is next takes the place over.
      const next = this.#next();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }

  #next(): (() => void) | undefined {
    const isTheirTurn = this.#inARow >= PREFERRED_IN_A_ROW && this.#others.size > 0;
    const next = isTheirTurn ? undefined : this.#preferred.next();
    this.#inARow = next === undefined ? 0 : this.#inARow + 1;
    return next ?? this.#others.next();
  }
}
