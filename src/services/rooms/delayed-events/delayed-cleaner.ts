import { Background } from '#src/kernel/concurrency/background.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import type { Database } from '#src/storage/database.ts';
import { deleteManyDelayedEvents, deleteOldDelayedEvents } from '#src/storage/rooms/delayed-events.ts';

const EVERY_MS = 600_000;
/** For so long they stay whatever the limits are: clients that repeat a request have to find what it did. */
const LEAST_LIFETIME_MS = 900_000;
const BATCH = 1_000;

export interface DelayedCleanerOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  /** Milliseconds for which delayed events are kept that were sent or cancelled. */
  readonly lifetimeMs: number;
  /** How many of them are kept of each user. */
  readonly most: number;
}

/** Deletes delayed events that are over. MSC4140, "Retention of finalised delayed events". */
export class DelayedCleaner {
  readonly #options: DelayedCleanerOptions;
  #timer: Timer | undefined;
  readonly #cleaning: Background;

  constructor(options: DelayedCleanerOptions) {
    this.#options = options;
    this.#cleaning = new Background(
      'old delayed events',
      async () => void (await this.clean()),
      (err) => options.logger.error('old delayed events could not be deleted', { err }),
    );
  }

  start(): void {
    this.#timer = this.#options.timers.every(EVERY_MS, () => this.#cleaning.wake());
  }

  /** @returns how many were deleted */
  async clean(): Promise<number> {
    const { clock, database, lifetimeMs, most } = this.#options;
    const now = clock.now();
    const latest = now - LEAST_LIFETIME_MS;
    return (
      (await inBatches(() => deleteOldDelayedEvents(database, Math.min(now - lifetimeMs, latest), BATCH))) +
      (await inBatches(() => deleteManyDelayedEvents(database, most, latest, BATCH)))
    );
  }

  async close(): Promise<void> {
    this.#timer?.cancel();
    await this.#cleaning.close();
  }
}

const inBatches = async (deleteSome: () => Promise<number>): Promise<number> => {
  let deleted = 0;
  for (;;) {
    const some = await deleteSome();
    deleted += some;
    if (some < BATCH) return deleted;
  }
};
