import type { Clock } from './clock.ts';
import { RankedLine } from './line.ts';
import type { Metrics } from './metrics.ts';

export interface TurnsOptions {
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** Milliseconds in one turn of the event loop for what begins or resumes; default 8. */
  readonly sliceMs?: number;
  /** How many of one party may wait at each rank, see `Line`; default 1 000. */
  readonly maxWaiting?: number;
  /** Calls `callback` after what is to be done in this turn of the event loop; default `setImmediate`. */
  readonly onNextTurn?: (callback: () => void) => void;
  /** Calls `callback` after so many milliseconds; default `setTimeout`. */
  readonly onceRested?: (callback: () => void, ms: number) => void;
}

/** For so many milliseconds after a party with few requests was served, the others leave most of the loop free. */
const SHARED_MS = 250;
/** Milliseconds of rest at most after one piece of work. */
const MAX_REST_MS = 20;

/** Most that are let in at once before it is known how long they take. */
const MAX_AT_ONCE = 64;

/** Ranks: 0 for parties with nearly no recent requests, `LAST_RANK` for those with many. */
export const LAST_RANK = 3;

/** A party and its rank. */
export interface RankedPlace {
  readonly party: string;
  readonly rank: number;
}

/**
 * Shares the event loop among requests. As long as one turn of the loop is short, everything begins at once. When it
 * gets long, what comes waits in line, and so much of it begins in each turn as fits into a slice: users take turns, those who asked for
 * less of late go first, and in between the loop gets to everything else. What was begun and resumes goes before what only begins, so that
 * there is not ever more of it. As long as others are served, those who asked for much get a third of the time: between their pieces of work the
 * loop rests for twice as long as the last one took, in which what others wait for (commits, answers) gets through.
 */
export class Turns {
  readonly #clock: Clock;
  readonly #sliceMs: number;
  readonly #onNextTurn: (callback: () => void) => void;
  readonly #onceRested: (callback: () => void, ms: number) => void;
  readonly #line: RankedLine<() => void>;
  /** When the first of this turn of the loop began; undefined before. */
  #since: number | undefined;
  /** When a party with few requests was served last. */
  #servedOthers = -SHARED_MS;
  #isDraining = false;
  /** How many to let in at once, by how long the last ones took. */
  #atOnce = 1;

  constructor(options: TurnsOptions) {
    this.#clock = options.clock;
    this.#sliceMs = options.sliceMs ?? 8;
    this.#onNextTurn = options.onNextTurn ?? setImmediate;
    this.#onceRested = options.onceRested ?? setTimeout;
    this.#line = new RankedLine(options.maxWaiting ?? 1_000, 2 * (LAST_RANK + 1));
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
   * @param onFull makes the error to throw when too many wait already
   * @returns undefined when it may begin at once, which is the usual case
   */
  enter({ party, rank }: RankedPlace, onFull: () => Error): Promise<void> | undefined {
    const place = 2 * rank + 1;
    // Of one party nothing overtakes what waits already; others may still begin in this turn.
    if (!this.#line.has(party) && this.#isTimeFor(place)) return undefined;
    return this.#wait(party, place, onFull);
  }

  /**
   * The same for what resumes after it has waited for something, such as an answer of the database: many answers come in one turn of the
   * loop, and what is made of each takes time.
   */
  resume({ party, rank }: RankedPlace): Promise<void> | undefined {
    const place = 2 * rank;
    return this.#isTimeFor(place) ? undefined : this.#wait(party, place);
  }

  #isTimeFor(place: number): boolean {
    if (place < 2 * LAST_RANK) this.#servedOthers = this.#clock.monotonic();
    // Also the first one of a turn of the loop goes before nobody who asked for less.
    if (this.#line.hasBefore(place)) return false;
    if (this.#since === undefined) {
      this.#since = this.#clock.monotonic();
      this.#onNextTurn(() => (this.#since = undefined));
      return true;
    }
    return this.#clock.monotonic() - this.#since < this.#sliceMs;
  }

  /** @param onFull when left out, what finds no room does not wait: it is begun already, and has to end */
  #wait(party: string, place: number, onFull?: () => Error): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!this.#line.join(party, place, resolve)) {
        if (onFull === undefined) resolve();
        else reject(onFull());
      } else if (!this.#isDraining) {
        this.#isDraining = true;
        this.#drain();
      }
    });
  }

  /** Lets some in, and measures how long they took: what they do until they wait for something is done before the second callback. */
  #drain(): void {
    let began = 0;
    let count = 0;
    const isOfHeavy = !this.#line.hasBefore(2 * LAST_RANK - 1);
    this.#onNextTurn(() => {
      began = this.#clock.monotonic();
      for (; count < this.#atOnce; count += 1) {
        const next = this.#line.next();
        if (next === undefined) break;
        next();
      }
    });
    this.#onNextTurn(() => {
      const now = this.#clock.monotonic();
      const took = now - began;
      const each = took / Math.max(count, 1);
      const fitting = Math.floor(this.#sliceMs / Math.max(each, 0.01));
      // Grows slowly and shrinks at once: the next ones may cost more.
      this.#atOnce = Math.max(1, Math.min(fitting, 2 * this.#atOnce, MAX_AT_ONCE));
      const isShared = isOfHeavy && now - this.#servedOthers < SHARED_MS;
      if (this.#line.size === 0) this.#isDraining = false;
      else if (isShared && took >= 1) this.#onceRested(() => this.#drain(), Math.min(2 * took, MAX_REST_MS));
      else this.#drain();
    });
  }
}
