import type { Clock } from './clock.ts';
import { LogFlood } from './log-flood.ts';
import type { Logger } from './logger.ts';
import type { Counter, Metrics } from './metrics.ts';
import type { Timer, Timers } from './timers.ts';
import { trail } from './work.ts';

/** How often it looks, in milliseconds. */
const BEAT_MS = 50;

export interface LoopWatchOptions {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Milliseconds from which on it is told that the event loop was held. */
  readonly tellFromMs: number;
}

/** Notices when one turn of the event loop took long, during which nobody was served, and says what held it. */
export class LoopWatch {
  readonly #clock: Clock;
  readonly #tellFromMs: number;
  readonly #flood: LogFlood;
  readonly #held: Counter;
  readonly #seconds: Counter;
  readonly #timer: Timer;
  #due: number;

  constructor(options: LoopWatchOptions) {
    this.#clock = options.clock;
    this.#tellFromMs = options.tellFromMs;
    this.#flood = new LogFlood(options.logger, options.timers, { most: 5 });
    this.#held = options.metrics.counter(
      'tsudoi_event_loop_held_total',
      'turns of the event loop that took long, by what took most of them',
      ['operation'],
    );
    this.#seconds = options.metrics.counter(
      'tsudoi_event_loop_held_seconds_total',
      'how long those turns took, by what took most of them',
      ['operation'],
    );
    this.#due = this.#clock.monotonic() + BEAT_MS;
    this.#timer = options.timers.every(BEAT_MS, () => this.#beat());
  }

  /** Stops looking. */
  close(): void {
    this.#timer.cancel();
  }

  #beat(): void {
    const now = this.#clock.monotonic();
    const late = now - this.#due;
    if (late >= this.#tellFromMs) this.#tell(this.#due, now);
    this.#due = now + BEAT_MS;
  }

  #tell(from: number, now: number): void {
    const longest = trail.longest(from, now);
    const operation = longest?.name ?? 'unnamed';
    this.#held.inc({ operation });
    this.#seconds.inc({ operation }, (now - from) / 1000);
    this.#flood.write('warn', operation, 'the event loop was held', {
      operation,
      ms: Math.round(now - from),
      longest_ms: Math.round(longest?.ms ?? 0),
    });
  }
}
