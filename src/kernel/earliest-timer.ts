import type { Clock } from './clock.ts';
import type { Timer, Timers } from './timers.ts';

/** One timer for many who wait: it fires once, when the first of them is due. Setting the clock does not move it. */
export class EarliestTimer {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #timers: Pick<Timers, 'after'>;
  readonly #callback: () => void;
  #next: { readonly timer: Timer; readonly at: number } | undefined;

  constructor(clock: Pick<Clock, 'monotonic'>, timers: Pick<Timers, 'after'>, callback: () => void) {
    this.#clock = clock;
    this.#timers = timers;
    this.#callback = callback;
  }

  /** Fires after so many milliseconds, unless it does so earlier. */
  within(ms: number): void {
    const at = this.#clock.monotonic() + ms;
    if (this.#next !== undefined && this.#next.at <= at) return;
    this.#next?.timer.cancel();
    this.#next = {
      at,
      timer: this.#timers.after(ms, () => {
        this.#next = undefined;
        this.#callback();
      }),
    };
  }

  /** Does not fire for what was asked before. */
  cancel(): void {
    this.#next?.timer.cancel();
    this.#next = undefined;
  }
}
