import type { Clock } from './clock.ts';
import { type Place, PreferringLine } from './line.ts';
import type { Metrics } from './metrics.ts';

export interface TurnsOptions {
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** Milliseconds in one turn of the event loop for what begins; default 8. */
  readonly sliceMs?: number;
  /** How many of one party may wait in each of the two lines, see `Line`; default 1 000. */
  readonly maxWaiting?: number;
  /** Calls `callback` after what is to be done in this turn of the event loop; default `setImmediate`. */
  readonly onNextTurn?: (callback: () => void) => void;
}

/** Most that are let in at once before it is known how long they take. */
const MOST_AT_ONCE = 64;

/**
 * Shares the event loop among those who ask for something. As long as one turn of the loop is short, everything begins at once. When it
 * gets long, what comes waits in line, and so much of it begins in each turn as fits into a slice: users take turns, those who asked for
 * little of late go first, and in between the loop gets to everything else.
 */
export class Turns {
  readonly #clock: Clock;
  readonly #sliceMs: number;
  readonly #onNextTurn: (callback: () => void) => void;
  readonly #line: PreferringLine<() => void>;
  /** When the first of this turn of the loop began; undefined before. */
  #since: number | undefined;
  #isDraining = false;
  /** How many to let in at once, by how long the last ones took. */
  #atOnce = 1;

  constructor(options: TurnsOptions) {
    this.#clock = options.clock;
    this.#sliceMs = options.sliceMs ?? 8;
    this.#onNextTurn = options.onNextTurn ?? setImmediate;
    this.#line = new PreferringLine(options.maxWaiting ?? 1_000);
    options.metrics.gaugeOf(
      'tsudoi_turns_waiting',
      'requests that wait for their turn of the event loop',
      () => this.#line.size,
    );
  }

  /** How many wait. */
  get waiting(): number {
    return this.#line.size;
  }

  /**
   * Waits for a turn of the event loop in which there is time for one more.
   *
   * @param place whose it is; preferred are those who asked for little of late
   * @param onFull makes the error to throw when too many wait already
   * @returns undefined when it may begin at once, which is the usual case
   */
  enter(place: Place, onFull: () => Error): Promise<void> | undefined {
    // Of one party nothing overtakes what waits already; others may still begin in this turn.
    if (this.#line.has(place.party)) return this.#wait(place, onFull);
    if (this.#since === undefined) {
      this.#since = this.#clock.monotonic();
      this.#onNextTurn(() => (this.#since = undefined));
      return undefined;
    }
    const mayBegin = this.#line.size === 0 || place.isPreferred;
    if (mayBegin && this.#clock.monotonic() - this.#since < this.#sliceMs) return undefined;
    return this.#wait(place, onFull);
  }

  #wait(place: Place, onFull: () => Error): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!this.#line.join(place, resolve)) reject(onFull());
      else if (!this.#isDraining) {
        this.#isDraining = true;
        this.#drain();
      }
    });
  }

  /** Lets some in, and measures how long they took: what they do until they wait for something is done before the second callback. */
  #drain(): void {
    let began = 0;
    let count = 0;
    this.#onNextTurn(() => {
      began = this.#clock.monotonic();
      for (; count < this.#atOnce; count += 1) {
        const next = this.#line.next();
        if (next === undefined) break;
        next();
      }
    });
    this.#onNextTurn(() => {
      const each = (this.#clock.monotonic() - began) / Math.max(count, 1);
      const fitting = Math.floor(this.#sliceMs / Math.max(each, 0.01));
      // Grows slowly and shrinks at once: the next ones may cost more.
      this.#atOnce = Math.max(1, Math.min(fitting, 2 * this.#atOnce, MOST_AT_ONCE));
      if (this.#line.size > 0) this.#drain();
      else this.#isDraining = false;
    });
  }
}
