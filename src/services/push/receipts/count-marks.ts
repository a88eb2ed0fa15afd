import type { Clock } from '#src/kernel/clock.ts';

/**
 * Marks receipts of users whose pushers have to be sent the new unread count. A mark is written in the commit of the receipt, and deleted
 * when it was processed. Marks are unique.
 */
export class CountMarks {
  readonly #clock: Clock;
  readonly #isMarked: (userId: string) => boolean;
  #last = 0;

  /** @param isMarked whether a user's receipts are marked */
  constructor(clock: Clock, isMarked: (userId: string) => boolean) {
    this.#clock = clock;
    this.#isMarked = isMarked;
  }

  /** The mark of a receipt; undefined for users without such pushers. */
  next(userId: string): number | undefined {
    if (!this.#isMarked(userId)) return undefined;
    this.#last = Math.max(this.#last + 1, this.#clock.now() * 1_000);
    return this.#last;
  }
}
