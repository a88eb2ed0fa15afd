import { silentLogger } from '#src/kernel/logger.ts';
import { DataDirectoryLock } from '#src/storage/data-directory-lock.ts';
import { EmbeddedPostgres } from '#src/storage/postgres/embedded-postgres.ts';
import type { Config } from './config/config.ts';

/**
 * Runs the embedded database without the server, so that PostgreSQL's tools can reach it: to restore a dump.
 *
 * @param onReady is called with its address, as its superuser
 * @param stop stops it
 * @throws when the server runs, or uses another database
 */
export async function runDatabase(config: Config, onReady: (url: string) => void, stop: AbortSignal): Promise<void> {
  if (config.database.url !== null)
    throw new Error('database.url is set: the server uses that database, and the embedded one is nobody’s.');
  const lock = await DataDirectoryLock.take(config.dataDir);
  try {
    const embedded = await EmbeddedPostgres.start({ dataDir: config.dataDir, logger: silentLogger });
    try {
      onReady(embedded.adminUrl('tsudoi'));
      if (!stop.aborted)
        await new Promise<void>((resolve) => {
          stop.addEventListener('abort', () => resolve(), { once: true });
          // Without this, the process would end: an open connection does not keep it alive.
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
