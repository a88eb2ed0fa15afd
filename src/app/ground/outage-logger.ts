import { LogFlood } from '#src/kernel/logging/log-flood.ts';
import type { LogFields, Logger } from '#src/kernel/logger.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { isDatabaseAway } from '#src/storage/failures.ts';

/** For how long each of the tasks that try again while the database is away is mentioned once, in milliseconds. */
export const WINDOW_MS = 60_000;

/**
 * Writes what fails because the database cannot be used once a minute for each kind of task, however many tasks try again. What is not
 * tried again says so (`given_up: true`) and is always written.
 */
export const outageLogger = (logger: Logger, timers: Timers): Logger =>
  withFlood(logger, new LogFlood(logger, timers, { most: 1, windowMs: WINDOW_MS }));

const withFlood = (logger: Logger, flood: LogFlood): Logger => {
  const write = (level: 'warn' | 'error', message: string, fields?: LogFields): void => {
    if (fields === undefined || fields['given_up'] === true || !isDatabaseAway(fields['err']))
      logger[level](message, fields);
    else flood.write(level, kindOf(level, message, fields), message, fields);
  };
  return {
    debug: (message, fields) => logger.debug(message, fields),
    info: (message, fields) => logger.info(message, fields),
    warn: (message, fields) => write('warn', message, fields),
    error: (message, fields) => write('error', message, fields),
    child: (fields) => withFlood(logger.child(fields), flood),
  };
};

/** Tasks of one kind write the same at the same level; jobs, of which one place writes, are kinds by their names. */
const kindOf = (level: string, message: string, { job, queue }: LogFields): string =>
  [level, message, job, queue].filter((part) => typeof part === 'string').join(', ');
