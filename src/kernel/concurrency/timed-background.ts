import { Background } from './background.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';

/**
 * Background work that is also woken after a while: what is gathered until then, or failed before, is done in one run. A run that begins
 * earlier does it, and makes the later wake unnecessary.
 */
export class TimedBackground extends Background {
  readonly #timers: Pick<Timers, 'after'>;
  /** By milliseconds of delay: of two wakes after the same delay the first one comes first. */
  readonly #pending: Map<number, Timer>;

  /**
   * @param name names the work in logs and metrics
   * @param onFailure is told what a run threw; it may wake the next one later
   */
  constructor(
    name: string,
    work: () => Promise<void>,
    onFailure: (err: unknown) => void,
    timers: Pick<Timers, 'after'>,
  ) {
    const pending = new Map<number, Timer>();
    super(
      name,
      () => {
        cancelAll(pending);
        return work();
      },
      onFailure,
    );
    this.#timers = timers;
    this.#pending = pending;
  }

  /**
   * Runs it after so many milliseconds, unless it does so earlier.
   *
   * @param ms one of a few delays: each that is waited for has a timer
   */
  wakeAfter(ms: number): void {
    if (this.isClosed || this.#pending.has(ms)) return;
    this.#pending.set(
      ms,
      this.#timers.after(ms, () => this.wake()),
    );
  }

  /** Does now what was to be done after a while, and resolves when it does not run. */
  flush(): Promise<void> {
    if (this.#pending.size > 0) this.wake();
    return this.idle();
  }

  /** Begins nothing new, neither now nor later, and resolves when it does not run. */
  override close(): Promise<void> {
    cancelAll(this.#pending);
    return super.close();
  }
}

const cancelAll = (pending: Map<number, Timer>): void => {
  for (const timer of pending.values()) timer.cancel();
  pending.clear();
};
