import { createHistogram } from 'node:perf_hooks';
import type { Clock } from '#src/kernel/clock.ts';
import { LogFlood } from '#src/kernel/logging/log-flood.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Counter, Metrics } from '#src/kernel/metrics.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import { trail, type Trail } from './work.ts';

/** How often it looks while something is done, in milliseconds. */
const BEAT_MS = 20;
/** Milliseconds without anything being done after which it stops looking. */
const REST_AFTER_MS = 100;
const NANOSECONDS_PER_MS = 1e6;
/** Milliseconds for which the loop was held from which on that is charged: shorter ones are in what work costs by its statements and bytes. */
const CHARGED_FROM_MS = 20;

export interface LoopWatchOptions {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Milliseconds from which on it is told that the event loop was held. */
  readonly reportFromMs: number;
  /** Milliseconds of processor time that this thread has taken so far: a loop that was held by less of it waited for the machine. */
  readonly processorMs: () => number;
  /** Where it reads what is done; that of the process when left out. */
  readonly trail?: Trail;
}

/**
 * Notices when one turn of the event loop took long, during which no request was served: charges whom it was done for, and logs what held it. It looks only while the trail
 * says that something is done, so that an idle server does not wake up for it.
 */
export class LoopWatch {
  readonly #clock: Clock;
  readonly #reportFromMs: number;
  readonly #processorMs: () => number;
  readonly #flood: LogFlood;
  readonly #turns: Counter;
  readonly #seconds: Counter;
  readonly #timers: Timers;
  readonly #trail: Trail;
  /** How late it looked, since that was last asked for. */
  readonly #delays = createHistogram();
  /** What has it look next: a beat, or the next thing that runs. */
  #next: Timer | undefined;
  #due = 0;
  /** Processor time when it looked last. */
  #taken = 0;

  constructor(options: LoopWatchOptions) {
    this.#clock = options.clock;
    this.#reportFromMs = options.reportFromMs;
    this.#processorMs = options.processorMs;
    this.#flood = new LogFlood(options.logger, options.timers, { most: 5 });
    this.#turns = options.metrics.counter(
      'tsudoi_event_loop_held_total',
      'long turns of the event loop, by the operation with the largest share',
      ['operation'],
    );
    this.#seconds = options.metrics.counter(
      'tsudoi_event_loop_held_seconds_total',
      'duration of the long turns of the event loop, by the operation with the largest share',
      ['operation'],
    );
    options.metrics.gaugeOf(
      'tsudoi_event_loop_delay_p99_seconds',
      'event loop delay while busy, 99th percentile since the last scrape',
      () => this.#takeDelay(),
    );
    this.#timers = options.timers;
    this.#trail = options.trail ?? trail;
  }

  start(): void {
    this.#look();
  }

  /** Stops looking. Nobody is charged any more for what ran before. */
  close(): void {
    this.#next?.cancel();
    this.#trail.letGo();
  }

  #look(): void {
    this.#due = this.#clock.monotonic() + BEAT_MS;
    this.#taken = this.#processorMs();
    this.#next = this.#timers.every(BEAT_MS, () => this.#beat());
  }

  #beat(): void {
    const now = this.#clock.monotonic();
    const late = now - this.#due;
    this.#delays.record(Math.max(1, Math.round(late * NANOSECONDS_PER_MS)));
    const taken = this.#processorMs();
    if (late >= Math.min(this.#reportFromMs, CHARGED_FROM_MS)) this.#held(this.#due, now, taken - this.#taken);
    this.#due = now + BEAT_MS;
    this.#taken = taken;
    if (now - this.#trail.latest < REST_AFTER_MS) return;
    this.#next?.cancel();
    this.#next = this.#trail.rest(() => this.#look());
  }

  #takeDelay(): number {
    const delay = this.#delays.count === 0 ? 0 : this.#delays.percentile(99) / NANOSECONDS_PER_MS / 1000;
    this.#delays.reset();
    return delay;
  }

  #held(from: number, now: number, processorMs: number): void {
    const longest = this.#trail.longest(from, now);
    // Time in which the machine did something else is nobody's debt.
    const owed = Math.min(longest?.ms ?? 0, processorMs);
    if (owed >= CHARGED_FROM_MS) longest?.work?.charge?.(owed);
    if (now - from < this.#reportFromMs) return;
    const operation = longest?.name ?? 'unnamed';
    this.#turns.inc({ operation });
    this.#seconds.inc({ operation }, (now - from) / 1000);
    this.#flood.write('warn', operation, 'the event loop was held', {
      operation,
      ms: Math.round(now - from),
      longest_ms: Math.round(longest?.ms ?? 0),
      processor_ms: Math.round(processorMs),
    });
  }
}
