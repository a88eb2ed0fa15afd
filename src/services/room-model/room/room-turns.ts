import { SerialByKey } from '#src/kernel/serial.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';

/** Who works on a room when: those who want it for themselves take turns, and so do those who rewrite its past. */
export class RoomTurns {
  /** Resolves when everybody who wanted the room for themselves so far has had it. */
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;
  readonly #past = new SerialByKey<'past'>();

  #areOver = false;

  /** Whether the room is no more. */
  get areOver(): boolean {
    return this.#areOver;
  }

  /** Whether a caller has the room exclusively, or waits for it: those who build on the head get in line. */
  get isTaken(): boolean {
    return this.#waiting > 0;
  }

  /** Keeps everybody from building on the head while `work` runs. Calls take their turns in the order in which they came. */
  async exclusively<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting++;
    try {
      return await this.besidesHead(work);
    } finally {
      this.#waiting--;
    }
  }

  /**
   * Keeps exclusive callers waiting, while all others still build on the head: for work on its past,
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

  /** Lets nobody work on the room after whoever does now: it is no more. Who comes later is told so with M_NOT_FOUND. */
  close(): void {
    this.#areOver = true;
  }

  /** One after the other: those who take old events away, or bring them back. It may take hours, and nobody else waits for it. */
  rewritePast<T>(work: () => Promise<T>): Promise<T> {
    return this.#past.run('past', work);
  }
}
