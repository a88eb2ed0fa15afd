import { systemClock, type Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { orAborted } from '#src/kernel/concurrency/or-aborted.ts';
import { systemRandom, type Random } from '#src/kernel/random.ts';
import { systemTimers, type Timers } from '#src/kernel/timers.ts';
import { DataDirectoryLock } from '#src/storage/data-directory-lock.ts';
import { Database } from '#src/storage/database.ts';
import { closeDataDirectory } from '#src/storage/private-files.ts';
import { EmbeddedPostgres } from '#src/storage/postgres/embedded-postgres.ts';
import type { Config } from '../config/config.ts';
import { PrometheusMetrics } from './metrics.ts';

/** Milliseconds that open transactions get to finish when the server ends. */
const CLOSE_DATABASE_MS = 1_500;
const STOP_POSTGRES_MS = 1_500;

/** What the application runs on: configuration, ports, and a migrated database of this server. */
export interface Platform {
  readonly config: Config;
  readonly logger: Logger;
  readonly metrics: PrometheusMetrics;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly database: Database;
}

export interface OpenPlatform extends Platform {
  /** Closes the database, the embedded PostgreSQL and the data directory, in this order. Never rejects. */
  close(): Promise<void>;
}

/**
 * Takes the data directory, starts the embedded PostgreSQL unless there is another one, and brings the schema up to date.
 *
 * @param stop aborted when the process is to end: what was opened so far is closed, and the promise rejects
 * @throws if another server holds the directory, the database cannot be reached, or it belongs to another server_name
 */
export async function openPlatform(config: Config, logger: Logger, stop?: AbortSignal): Promise<OpenPlatform> {
  const closers: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) {
      try {
        await closer();
      } catch (err) {
        logger.error('a platform service could not be closed', { err });
      }
    }
  };
  try {
    const lock = await DataDirectoryLock.take(config.dataDir);
    closers.push(() => lock.release());
    await closeDataDirectory(config.dataDir);
    const metrics = new PrometheusMetrics();
    closers.push(async () => metrics.close());

    let url = config.database.url;
    if (url === null) {
      const embedded = await EmbeddedPostgres.start({ dataDir: config.dataDir, logger });
      closers.push(() => embedded.stop(STOP_POSTGRES_MS));
      url = embedded.url();
    }
    stop?.throwIfAborted();
    const database = await Database.open({
      url,
      poolSize: config.database.poolSize,
      logger,
      metrics,
      clock: systemClock,
    });
    closers.push(async () => {
      const late = Symbol('late');
      const limit = systemTimers.sleep(CLOSE_DATABASE_MS).then(() => late);
      if ((await Promise.race([database.close(), limit])) === late)
        logger.warn('a database transaction was aborted at shutdown');
    });
    // While another node migrates, this one waits without a limit.
    await orAborted(database.migrate(), stop);
    await database.claim(config.serverName);
    return { config, logger, metrics, clock: systemClock, timers: systemTimers, random: systemRandom, database, close };
  } catch (error) {
    await close();
    throw error;
  }
}
