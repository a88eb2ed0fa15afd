import type { Timer, Timers } from '#src/kernel/timers.ts';

/** Timers of one life of a server: they end with it, whoever else lives on by the same clock. */
export class MortalTimers implements Timers {
  readonly #timers: Timers;
  readonly #intervals = new Set<Timer>();
  #state: 'alive' | 'hurried' | 'ended' = 'alive';

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  /** From now on nobody waits: what is only cut off after some time is cut off at once. */
  hurry(): void {
    this.#state = 'hurried';
  }

  /** From now on nothing happens. */
  end(): void {
    this.#state = 'ended';
    // A clock that goes on for days would stop at every beat of the dead.
    for (const interval of this.#intervals) interval.cancel();
    this.#intervals.clear();
  }

  after(ms: number, callback: () => void): Timer {
    if (this.#state !== 'hurried') return this.#timers.after(ms, () => this.#call(callback));
    const handle = setImmediate(() => this.#call(callback));
    return { cancel: () => clearImmediate(handle) };
  }

  every(ms: number, callback: () => void): Timer {
    const interval = this.#timers.every(ms, () => this.#call(callback));
    this.#intervals.add(interval);
    return {
      cancel: () => {
        this.#intervals.delete(interval);
        interval.cancel();
      },
    };
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (this.#state === 'hurried') return new Promise((resolve) => void setImmediate(resolve));
    return this.#timers.sleep(ms, signal);
  }

  #call(callback: () => void): void {
    if (this.#state !== 'ended') callback();
  }
}
