import type { Clock } from '#src/kernel/clock.ts';
import { RankedLine } from '#src/kernel/limits/line.ts';
import { RecentMap } from '#src/kernel/caches/recent-map.ts';
import type { Metrics } from '#src/kernel/metrics.ts';

export interface TurnsOptions {
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** Milliseconds in one turn of the event loop for what begins or resumes; default `SLICE_MS`. */
  readonly sliceMs?: number;
  /** How many of one party may wait at each rank, see `Line`; default 1 000. */
  readonly maxWaiting?: number;
  /** Calls `callback` after what is to be done in this turn of the event loop; default `setImmediate`. */
  readonly onNextTurn?: (callback: () => void) => void;
  /** Calls `callback` when what was let in waits for something again, in the same turn of the loop; default `onceStill`. */
  readonly onceStill?: (callback: () => void) => void;
  /** Calls `callback` after so many milliseconds; default `setTimeout`. */
  readonly onceRested?: (callback: () => void, ms: number) => void;
}

export const SLICE_MS = 8;
/** For so many milliseconds after a party with few requests was served, the others leave most of the loop free. */
const SHARED_MS = 250;
/** What then fits into a turn of the loop, in milliseconds: one piece of work, or several short ones. */
const SHARED_SLICE_MS = 1;
/** Milliseconds of rest at most after that. */
export const MAX_REST_MS = 20;

/** A party that took up to so many milliseconds of the loop of late has rank 0, 1 or 2. */
const RANKS_MS = [3, 30, 150];
/** How much of what a party took is forgotten in each millisecond. */
const FORGOTTEN_PER_MS = 0.05;
/** No more than this is remembered of it: six seconds later it is forgotten, however long the party took much. */
const MAX_TAKEN_MS = 300;
/** Parties of which it is remembered what they took. */
const MAX_PARTIES = 10_000;

/** Promises are settled before ticks run, but for the ticks that a callback of the loop begins with. */
const onceStill = (callback: () => void): void => queueMicrotask(() => process.nextTick(callback));

/** Ranks: 0 for parties with nearly no recent requests, `LAST_RANK` for those with many. */
export const LAST_RANK = RANKS_MS.length;

/** The rank of a party that took so much, by what is taken at most at each of the ranks before the last. */
export const rankOf = (taken: number, bounds: readonly number[]): number => {
  const rank = bounds.findIndex((most) => taken <= most);
  return rank === -1 ? bounds.length : rank;
};

/** A party and its rank, at least: it is higher for one that took much time of the loop of late. */
export interface RankedPlace {
  readonly party: string;
  readonly rank: number;
}

/** One that waits. */
interface Waiting {
  readonly party: string;
  readonly begin: () => void;
}

/** Milliseconds that a party took, as of a time. */
interface Taken {
  readonly ms: number;
  readonly at: number;
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
  readonly #onceStill: (callback: () => void) => void;
  readonly #onceRested: (callback: () => void, ms: number) => void;
  readonly #line: RankedLine<Waiting>;
  readonly #taken = new RecentMap<string, Taken>('turns_taken', MAX_PARTIES);
  /** What runs in this turn of the loop, since when. */
  #running: { readonly party: string; readonly since: number } | undefined;
  /** When the first of this turn of the loop began; undefined before. */
  #since: number | undefined;
  /** When a party with few requests was served last. */
  #servedOthers = -SHARED_MS;
  #isDraining = false;
  /** The rest that those who asked for much take at the moment, an object of its own; undefined when there is none. */
  #rest: object | undefined;
  #restUntil = 0;

  constructor(options: TurnsOptions) {
    this.#clock = options.clock;
    this.#sliceMs = options.sliceMs ?? SLICE_MS;
    this.#onNextTurn = options.onNextTurn ?? setImmediate;
    this.#onceStill = options.onceStill ?? onceStill;
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
    const place = 2 * this.#rankOf(party, rank) + 1;
    // Of one party nothing overtakes what waits already; others may still begin in this turn.
    if (!this.#line.has(party) && this.#isTimeFor(party, place)) return undefined;
    return this.#wait(party, place, onFull);
  }

  /**
   * The same for what resumes after it has waited for something, such as an answer of the database: many answers come in one turn of the
   * loop, and what is made of each takes time.
   */
  resume({ party, rank }: RankedPlace): Promise<void> | undefined {
    const place = 2 * this.#rankOf(party, rank);
    return this.#isTimeFor(party, place) ? undefined : this.#wait(party, place);
  }

  #isTimeFor(party: string, place: number): boolean {
    const now = this.#clock.monotonic();
    if (place < 2 * LAST_RANK) this.#servedOthers = now;
    // Also the first one of a turn of the loop goes before nobody who asked for less.
    if (this.#line.hasBefore(place)) return false;
    if (this.#since === undefined) {
      this.#since = now;
      this.#onNextTurn(() => (this.#since = undefined));
    } else if (now - this.#since >= this.#sliceMs) return false;
    this.#run(party, now);
    return true;
  }

  /** Notes who runs from now on, until another one does or all of them wait for something. */
  #run(party: string, now: number): void {
    if (this.#running === undefined) this.#onceStill(() => this.#ran(this.#clock.monotonic()));
    else this.#ran(now);
    this.#running = { party, since: now };
  }

  #ran(now: number): void {
    const { party, since } = this.#running as { party: string; since: number };
    this.#running = undefined;
    const took = now - since;
    // Most take far less, and nothing is noted of them.
    if (took >= 1) this.#taken.set(party, { ms: Math.min(this.#takenBy(party, now) + took, MAX_TAKEN_MS), at: now });
  }

  #takenBy(party: string, now: number): number {
    const taken = this.#taken.get(party);
    return taken === undefined ? 0 : Math.max(0, taken.ms - FORGOTTEN_PER_MS * (now - taken.at));
  }

  #rankOf(party: string, least: number): number {
    if (this.#taken.size === 0) return least;
    return Math.max(least, rankOf(this.#takenBy(party, this.#clock.monotonic()), RANKS_MS));
  }

  /** @param onFull when left out, what finds no room does not wait: it is begun already, and has to end */
  #wait(party: string, place: number, onFull?: () => Error): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!this.#line.join(party, place, { party, begin: resolve })) {
        if (onFull === undefined) resolve();
        else reject(onFull());
      } else if (!this.#isDraining) {
        this.#isDraining = true;
        this.#drain();
      } else if (this.#rest !== undefined && place < 2 * LAST_RANK) {
        // Only those rest who asked for much.
        this.#rest = undefined;
        this.#drain();
      }
    });
  }

  /** Lets those in who fit into a slice of the next turn of the loop. */
  #drain(): void {
    this.#onNextTurn(() => {
      const now = this.#clock.monotonic();
      if (this.#hasLight || now >= this.#restUntil) this.#letIn(now, !this.#hasLight);
      else this.#takeRest(this.#restUntil - now);
    });
  }

  #takeRest(ms: number): void {
    const rest = {};
    this.#rest = rest;
    this.#onceRested(() => {
      if (this.#rest !== rest) return;
      this.#rest = undefined;
      this.#restUntil = 0;
      this.#drain();
    }, ms);
  }

  /** Lets one in, and the next one only when it is known how long that took: nothing of before says how long what comes now takes. */
  #letIn(began: number, isOfHeavy: boolean): void {
    const next = this.#line.next();
    if (next !== undefined) {
      this.#run(next.party, this.#clock.monotonic());
      next.begin();
    }
    this.#onceStill(() => {
      const now = this.#clock.monotonic();
      const took = now - began;
      if (this.#line.size === 0) this.#isDraining = false;
      else {
        const isShared = isOfHeavy && now - this.#servedOthers < SHARED_MS;
        if (took < (isShared ? SHARED_SLICE_MS : this.#sliceMs) && this.#hasLight !== isOfHeavy)
          this.#letIn(began, isOfHeavy);
        else {
          if (isShared) this.#restUntil = now + Math.min(2 * took, MAX_REST_MS);
          if (isShared && !this.#hasLight) this.#takeRest(this.#restUntil - now);
          else this.#drain();
        }
      }
    });
  }

  /** Whether a party waits that did not ask for much of late. */
  get #hasLight(): boolean {
    return this.#line.hasBefore(2 * LAST_RANK - 1);
  }
}
