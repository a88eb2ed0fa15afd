import type { Clock } from '#src/kernel/clock.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';

/** What comes within so many milliseconds is one: a pusher is woken once for it, when the last of it is ripe. */
const TOGETHER_MS = 50;

interface Due {
  readonly from: number;
  at: number;
  readonly destinations: Set<string>;
}

/** Wakes pushers when what waits for them has waited long enough to have been read. One timer waits for all. */
export class Ripening {
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #wake: (destination: string) => void;
  /** In the order of their times. */
  #waiting: Due[] = [];
  #timer: Timer | undefined;

  constructor(clock: Clock, timers: Timers, wake: (destination: string) => void) {
    this.#clock = clock;
    this.#timers = timers;
    this.#wake = wake;
  }

  /** @param at in milliseconds; not before that of the call before */
  add(at: number, destinations: readonly string[]): void {
    const last = this.#waiting.at(-1);
    if (last !== undefined && at - last.from < TOGETHER_MS) {
      last.at = at;
      for (const destination of destinations) last.destinations.add(destination);
    } else this.#waiting.push({ from: at, at, destinations: new Set(destinations) });
    if (this.#timer === undefined) this.#wakeDue();
  }

  close(): void {
    this.#timer?.cancel();
  }

  #wakeDue(): void {
    this.#timer = undefined;
    const now = this.#clock.now();
    const due = this.#waiting.findIndex(({ at }) => at > now);
    const ripe = due === -1 ? this.#waiting : this.#waiting.slice(0, due);
    this.#waiting = due === -1 ? [] : this.#waiting.slice(due);
    for (const { destinations } of ripe) for (const destination of destinations) this.#wake(destination);
    const [next] = this.#waiting;
    if (next !== undefined) this.#timer = this.#timers.after(next.at - now, () => this.#wakeDue());
  }
}
