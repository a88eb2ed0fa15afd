import { setImmediate } from 'node:timers/promises';

/**
 * Splits long work on the event loop: after each piece the caller reports how much it was, and now and then waits for a turn, so that what
 * came meanwhile is done first.
 */
export class LoopYield {
  readonly #each: number;
  readonly #next: () => Promise<void> | undefined;
  #done = 0;

  /**
   * @param each units of work in one turn
   * @param next waits for a turn, unless there is time left in this one; default `setImmediate`
   */
  constructor(each: number, next: () => Promise<void> | undefined = setImmediate) {
    this.#each = each;
    this.#next = next;
  }

  /** Says that so much was done. Await what comes back, if anything does. */
  after(units: number): Promise<void> | undefined {
    this.#done += units;
    if (this.#done < this.#each) return undefined;
    this.#done = 0;
    return this.#next();
  }

  /** Does all of some work that yields the units that it has done since it last did. */
  async run<T>(work: Generator<number, T>): Promise<T> {
    for (;;) {
      const { done, value } = work.next();
      if (done === true) return value;
      const waiting = this.after(value);
      if (waiting !== undefined) await waiting;
    }
  }
}
