import { GateByKey } from './gate.ts';
import { type Place, RankedLine } from './line.ts';

export interface FairGateOptions {
  /** How many pass at once. */
  readonly concurrency: number;
  /** How many of one party may wait in each of the two lines; of all together fewer than twice as many, each less the more there are. */
  readonly maxWaiting: number;
  /** How many of one party pass at once, where the work waits for others for long; when left out, one party may have all places. */
  readonly concurrencyOfOne?: number;
}

/** Limits concurrency. Further callers wait in line, where parties take turns: a party with many calls delays only itself. */
export class FairGate {
  readonly #line: RankedLine<() => void>;
  readonly #maxWaiting: number;
  readonly #parties: GateByKey<string> | undefined;
  #free: number;

  constructor({ concurrency, concurrencyOfOne, maxWaiting }: FairGateOptions) {
    this.#free = concurrency;
    this.#maxWaiting = maxWaiting;
    this.#parties = concurrencyOfOne === undefined ? undefined : new GateByKey(concurrencyOfOne);
    this.#line = new RankedLine(maxWaiting, 2);
  }

  /** How many wait. */
  get waiting(): number {
    return this.#line.size + (this.#parties?.waitingOfAll ?? 0);
  }

  /**
   * Runs `work` when it is its turn.
   *
   * @param onFull makes the error to throw when too many wait already
   */
  async run<T>(place: Place, work: () => Promise<T>, onFull: () => Error): Promise<T> {
    const parties = this.#parties;
    if (parties === undefined) return this.#pass(place, work, onFull);
    if (parties.waiting(place.party) >= this.#maxWaiting) throw onFull();
    return parties.run(place.party, () => this.#pass(place, work, onFull));
  }

  async #pass<T>({ party, isPreferred }: Place, work: () => Promise<T>, onFull: () => Error): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else {
      await new Promise<void>((resolve, reject) => {
        if (!this.#line.join(party, isPreferred ? 0 : 1, resolve)) reject(onFull());
      });
    }
    try {
      return await work();
    } finally {
      // The next one takes the place over. In a turn of its own, since a line of callers that need not wait inside would else
      // be one turn.
      const next = this.#line.next();
      if (next === undefined) this.#free += 1;
      else setImmediate(next);
    }
  }
}
