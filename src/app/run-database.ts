import { silentLogger } from '#src/kernel/logger.ts';
import { DataDirectoryLock } from '#src/storage/data-directory-lock.ts';
import { EmbeddedPostgres } from '#src/storage/embedded-postgres.ts';
import type { Config } from './config/config.ts';

/**
 * Runs the embedded database without the server, so that tools of PostgreSQL reach it: for putting a dump back.
 *
 * @param told is told where it is, as its superuser
 * @param stop ends it
 * @throws when the server runs, or uses another database
 */
export async function runDatabase(config: Config, told: (url: string) => void, stop: AbortSignal): Promise<void> {
  if (config.database.url !== null)
    throw new Error('database.url is set: the server uses that database, and the embedded one is nobody’s.');
  const lock = await DataDirectoryLock.take(config.dataDir);
  try {
    const embedded = await EmbeddedPostgres.start({ dataDir: config.dataDir, logger: silentLogger });
    try {
      told(embedded.adminUrl('tsudoi'));
      if (!stop.aborted)
        await new Promise<void>((resolve) => {
          stop.addEventListener('abort', () => resolve(), { once: true });
          // An open connection keeps no process alive here: this does.
          const alive = setInterval(() => undefined, 60_000);
          stop.addEventListener('abort', () => clearInterval(alive), { once: true });
        });
    } finally {
      await embedded.stop();
    }
  } finally {
    await lock.release();
  }
}
