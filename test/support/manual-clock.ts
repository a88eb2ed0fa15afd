import type { Clock } from '#src/kernel/clock.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';

interface Due {
  at: number;
  readonly order: number;
  readonly every: number | undefined;
  readonly callback: () => void;
}

/** Time that stands still until a test moves it. Clock and timers in one, so that they agree. */
export class ManualClock implements Clock, Timers {
  #now: number;
  readonly #start: number;
  /** By how much somebody has set the clock. */
  #set = 0;
  #order = 0;
  readonly #due = new Set<Due>();
  /** Called when a timer is started that is due at once. */
  readonly #watching = new Set<() => void>();
  /** Have those who sleep listen to their signals no longer. */
  readonly #sleepers = new Set<() => void>();

  /** @param now milliseconds since the epoch at which time stands; default 2026-01-01T00:00:00Z */
  constructor(now: number = Date.UTC(2026, 0, 1)) {
    this.#now = now;
    this.#start = now;
  }

  now(): number {
    return this.#now + this.#set;
  }

  monotonic(): number {
    return this.#now - this.#start;
  }

  after(ms: number, callback: () => void): Timer {
    return this.#schedule(ms, undefined, callback);
  }

  every(ms: number, callback: () => void): Timer {
    return this.#schedule(ms, Math.max(ms, 1), callback);
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted === true) {
        resolve();
        return;
      }
      const done = (): void => {
        timer.cancel();
        this.#sleepers.delete(stop);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      // A signal that is made of others lives as long as somebody listens to it.
      const stop = (): void => signal?.removeEventListener('abort', done);
      const timer = this.after(ms, done);
      this.#sleepers.add(stop);
      signal?.addEventListener('abort', done, { once: true });
    });
  }

  /** How many timers wait. */
  get pending(): number {
    return this.#due.size;
  }

  /** In how many milliseconds each timer is due, the next one first. */
  get dueIn(): number[] {
    return [...this.#due].map(({ at }) => at - this.#now).sort((a, b) => a - b);
  }

  /** Whether a timer's time has come, and `advance(0)` would run it. */
  get isDue(): boolean {
    return [...this.#due].some(({ at }) => at <= this.#now);
  }

  /** Sets the clock forward or back by `ms`, as an administrator does: no time passes. */
  set(ms: number): void {
    this.#set += ms;
  }

  /** Lets time pass without anything getting a turn, as when something holds the event loop. */
  spend(ms: number): void {
    this.#now += ms;
  }

  /** Moves time by `ms` and runs what falls due, in order; what a timer's callback awaits gets its turn in between. */
  async advance(ms: number): Promise<void> {
    const target = this.#now + ms;
    for (;;) {
      await settle();
      const next = [...this.#due].sort((a, b) => a.at - b.at || a.order - b.order)[0];
      if (next === undefined || next.at > target) break;
      this.#now = Math.max(this.#now, next.at);
      if (next.every === undefined) this.#due.delete(next);
      else next.at += next.every;
      next.callback();
    }
    this.#now = Math.max(this.#now, target);
    await settle();
  }

  /** Forgets all timers: nothing falls due any more. */
  stop(): void {
    for (const stop of this.#sleepers) stop();
    for (const held of [this.#due, this.#watching, this.#sleepers]) held.clear();
  }

  /** Waits for `work`, and runs meanwhile what it starts and is due without any time passing: pauses of no length. */
  async runDueUntil(work: Promise<void>): Promise<void> {
    const run = (): void => void this.advance(0);
    this.#watching.add(run);
    run();
    try {
      await work;
    } finally {
      this.#watching.delete(run);
    }
  }

  #schedule(ms: number, every: number | undefined, callback: () => void): Timer {
    const due: Due = { at: this.#now + Math.max(ms, 0), order: (this.#order += 1), every, callback };
    this.#due.add(due);
    if (due.at <= this.#now) for (const run of this.#watching) run();
    return { cancel: () => this.#due.delete(due) };
  }
}

function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
