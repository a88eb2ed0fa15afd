import { once } from 'node:events';
import { systemClock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { orAborted } from '#src/kernel/concurrency/or-aborted.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import type { Config } from './config/config.ts';
import { rememberingLogger } from './ground/remembering-logger.ts';
import { openPlatform, type OpenPlatform, type Platform } from './ground/platform.ts';
import { StopRequests } from './stop-requests.ts';

/** The server proper: everything between its platform and its listeners. */
export interface Application {
  /** Begins to listen. `address` is the URL at which it answers. */
  start(): Promise<{ address: string }>;
  /** Stops accepting, lets long-polls answer, flushes writers and queues, closes the listeners. */
  drain(): Promise<void>;
  /** SIGHUP: reloads certificates. */
  reload?(): Promise<void>;
}

export interface ServeOptions {
  readonly config: Config;
  readonly logger: Logger;
  /** Loads the code that composes the application; called while the platform opens. */
  readonly loadApplication: () => Promise<(platform: Platform) => Promise<Application>>;
  /** Called when everything that a start needs is loaded. */
  readonly loaded?: () => void;
}

/** Milliseconds that requests and queues get; what closes after them fits into the 10 s that operators' tools allow. */
const DRAIN_MS = 6_000;

/**
 * Runs the server until SIGTERM or SIGINT, and then stops it in order, however often the signal comes: see `StopRequests`. The
 * embedded database is stopped last, and always.
 *
 * @returns the process's exit code: 0 after a clean end, 1 if it did not start or an error brought it down
 */
export async function serve(options: ServeOptions): Promise<number> {
  const { config } = options;
  const logger = rememberingLogger(options.logger, { clock: systemClock, config });
  const requests = new StopRequests(systemClock);
  const { stop, hurry } = requests;
  let application: Application | undefined;
  // Handlers stay to the end of the process. With none left, the next signal would kill it half-way down.
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      if (!stop.aborted) logger.info('stopping', { reason: name });
      requests.ask();
    });
  }
  process.on('SIGHUP', () => {
    logger.info('reloading', { reason: 'SIGHUP' });
    application?.reload?.().catch((err: unknown) => logger.error('reloading failed, nothing was changed', { err }));
  });
  process.on('unhandledRejection', (err) => logger.error('a rejected promise was not handled', { err }));
  process.on('uncaughtException', (err) => {
    // Whatever threw was in the middle of something: what the database holds is right, what memory holds may not be.
    logger.error('uncaught exception', { err });
    if (!stop.aborted) logger.info('stopping', { reason: 'uncaught error' });
    requests.fail();
  });

  let platform: OpenPlatform | undefined;
  try {
    const opening = openPlatform(config, logger, stop);
    const [opened, loaded] = await Promise.allSettled([opening, options.loadApplication()]);
    if (opened.status === 'fulfilled') platform = opened.value;
    else throw opened.reason;
    if (loaded.status === 'rejected') throw loaded.reason;
    options.loaded?.();
    application = await loaded.value(platform);
    stop.throwIfAborted();
    const { address } = await orAborted(application.start(), hurry);
    logger.info('Tsudoi is ready', { server_name: config.serverName, address, data_dir: config.dataDir });
  } catch (error) {
    if (!stop.aborted) {
      requests.fail();
      // A mistake of the operator needs no stack; at log.level debug it is logged.
      logger.error(`Tsudoi could not start: ${error instanceof Error ? error.message : String(error)}`);
      logger.debug('where it failed', { err: error });
    }
  }

  if (!stop.aborted) await once(stop, 'abort');
  if (application !== undefined) await drain(application, hurry, logger);
  await platform?.close();
  logger.info('stopped');
  return requests.code;
}

async function drain(application: Application, hurry: AbortSignal, logger: Logger): Promise<void> {
  const late = Symbol('late');
  try {
    const limit = systemTimers.sleep(DRAIN_MS, hurry).then(() => late);
    if ((await Promise.race([application.drain(), limit])) === late)
      logger.warn('running requests were aborted at shutdown');
  } catch (err) {
    logger.error('draining failed', { err });
  }
}
