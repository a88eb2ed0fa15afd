import type { Timers } from '#src/kernel/timers.ts';
import type { SyncUser } from './sync-user.ts';

/** Waits for changes of a user, until the timeout or the end of the request. */
export class SyncWait {
  readonly #user: SyncUser;
  readonly #signal: AbortSignal;
  readonly #timer: { cancel(): void } | undefined;
  #wake: () => void = () => undefined;
  #isOver: boolean;

  /**
   * @param timeoutMs how long to wait, all in all; nothing, when 0 or less
   * @param signal aborted when the client is gone or the server drains
   */
  constructor(timers: Timers, user: SyncUser, timeoutMs: number, signal: AbortSignal) {
    this.#user = user;
    this.#signal = signal;
    this.#isOver = timeoutMs <= 0;
    this.#timer = this.#isOver
      ? undefined
      : timers.after(timeoutMs, () => {
          this.#isOver = true;
          this.#wake();
        });
  }

  /** Whether it is time to answer, news or not. */
  get isOver(): boolean {
    return this.#isOver || this.#signal.aborted;
  }

  /** Resolves when something happened since the user had this version, or when it is time to answer. */
  since(version: number): Promise<void> {
    const user = this.#user;
    if (user.version !== version || this.isOver) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        stop();
        this.#signal.removeEventListener('abort', done);
        this.#wake = () => undefined;
        resolve();
      };
      const stop = user.addWaiter(() => {
        if (user.version !== version) done();
      });
      this.#wake = done;
      this.#signal.addEventListener('abort', done, { once: true });
    });
  }

  end(): void {
    this.#timer?.cancel();
  }
}
