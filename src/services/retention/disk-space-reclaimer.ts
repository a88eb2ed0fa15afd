import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Timers } from '#src/kernel/timers.ts';
import type { Database } from '#src/storage/database.ts';
import {
  moveForward,
  pagesOf,
  PURGED_TABLES,
  type PurgedTable,
  rebuildIndexes,
  tableSize,
  vacuum,
} from '#src/storage/rooms/space.ts';

/** A table that has become smaller by this share has indexes that are worth rebuilding. */
const REBUILD_SHARE = 0.2;
/** Bytes under which nothing is worth the work. */
const SMALL = 1024 * 1024;

export interface DiskSpaceReclaimerOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  /** Milliseconds between two steps at least. */
  readonly pauseMs: number;
}

/**
 * Returns disk space that purges have freed to the operating system. VACUUM alone cuts a table only where its end is empty, and what is
 * purged lies at its beginning: so the rows at the end are moved into the free places in front first, a few pages at a time, and
 * the table is not locked (as VACUUM FULL would).
 */
export class DiskSpaceReclaimer {
  readonly #options: DiskSpaceReclaimerOptions;

  constructor(options: DiskSpaceReclaimerOptions) {
    this.#options = options;
  }

  /** @returns whether it came to its end */
  async reclaimDiskSpace(signal: AbortSignal): Promise<boolean> {
    for (const table of PURGED_TABLES) if (!(await this.#shrink(table, signal))) return false;
    return true;
  }

  async #shrink(table: PurgedTable, signal: AbortSignal): Promise<boolean> {
    const { database, timers, clock, logger, pauseMs } = this.#options;
    const before = await tableSize(database, table);
    await vacuum(database, table);
    const { bytes } = await tableSize(database, table);
    if (bytes >= SMALL) {
      for (let end: number | undefined = pagesOf(bytes); end !== undefined;) {
        if (signal.aborted) return false;
        const started = clock.monotonic();
        end = await moveForward(database, table, end);
        await timers.sleep(Math.max(pauseMs, 2 * (clock.monotonic() - started)), signal);
      }
      await vacuum(database, table);
    }
    const after = await tableSize(database, table);
    if (before.bytes - after.bytes > REBUILD_SHARE * before.bytes && before.indexes >= SMALL)
      await rebuildIndexes(database, table);
    const now = await tableSize(database, table);
    const returned = before.bytes + before.indexes - now.bytes - now.indexes;
    if (returned > 0) logger.info('disk space was given back', { table, bytes: returned });
    return true;
  }
}
