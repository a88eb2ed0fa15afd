import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';

/** Locks of a room: exclusive callers take turns, and so do those that rewrite its past. */
export class RoomTurns {
  /** Resolves when all exclusive callers so far are done. */
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;
  readonly #past = new SerialByKey<'past'>();

  #areOver = false;

  /** Whether the room was deleted. */
  get areOver(): boolean {
    return this.#areOver;
  }

  /** Whether a caller has the room exclusively, or waits for it: then building on the head waits in line. */
  get isTaken(): boolean {
    return this.#waiting > 0;
  }

  /** Runs `work` while nothing is built on the head. Calls take their turns in order. */
  async exclusively<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting++;
    try {
      return await this.besidesHead(work);
    } finally {
      this.#waiting--;
    }
  }

  /**
   * Runs `work` while exclusive callers wait, and events can still be built on the head: for work on the room's past,
   * which remote events may be built on.
   */
  async besidesHead<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    await before;
    try {
      if (this.#areOver) throw new MatrixError('M_NOT_FOUND', 'This room was deleted from this server.');
      return await work();
    } finally {
      resolve();
    }
  }

  /** Ends the locks of a deleted room after the work that holds them. Later calls fail with M_NOT_FOUND. */
  close(): void {
    this.#areOver = true;
  }

  /** Runs purges and restores one after the other. They may take hours, and nothing else waits for them. */
  rewritePast<T>(work: () => Promise<T>): Promise<T> {
    return this.#past.run('past', work);
  }
}
