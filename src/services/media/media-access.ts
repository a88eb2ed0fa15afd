import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { TimedBackground } from '#src/kernel/concurrency/timed-background.ts';
import type { Timers } from '#src/kernel/timers.ts';
import type { Database } from '#src/storage/database.ts';
import { type MediaRecord, noteAccess } from '#src/storage/media/media.ts';
import { DAY_MS } from '#src/kernel/dates.ts';

/** Milliseconds for which accesses are gathered. */
const LAG_MS = 10_000;
const WRITTEN_AT_ONCE = 1_000;
/** Accesses that wait at most; further ones are noted when the same media are asked for again. */
const MAX_WAITING = 20_000;

export interface MediaAccessOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
}

/** Stores when media were last requested, to the day: media that are requested often cost one write a day. */
export class MediaAccess {
  readonly #options: MediaAccessOptions;
  readonly #waiting = new Set<number>();
  readonly #background: TimedBackground;

  constructor(options: MediaAccessOptions) {
    this.#options = options;
    this.#background = new TimedBackground(
      'media accesses',
      () => this.#write(),
      (err) => options.logger.warn('access times of media could not be stored', { err }),
      options.timers,
    );
  }

  note({ nid, createdTs, lastAccessTs }: MediaRecord): void {
    const known = lastAccessTs ?? createdTs;
    if (known > this.#options.clock.now() - DAY_MS || this.#waiting.size >= MAX_WAITING) return;
    this.#waiting.add(nid);
    this.#background.wakeAfter(LAG_MS);
  }

  /** Resolves when everything that was noted is written. */
  idle(): Promise<void> {
    return this.#background.flush();
  }

  async close(): Promise<void> {
    await this.idle();
    await this.#background.close();
  }

  async #write(): Promise<void> {
    const all = [...this.#waiting];
    this.#waiting.clear();
    for (let from = 0; from < all.length; from += WRITTEN_AT_ONCE)
      await noteAccess(this.#options.database, all.slice(from, from + WRITTEN_AT_ONCE), this.#options.clock.now());
  }
}
