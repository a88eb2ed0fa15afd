import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { RecentErrors, RememberingLogger } from '#src/kernel/logging/recent-errors.ts';
import type { Config } from '../config/config.ts';

/** A logger that keeps warnings and errors in memory, for administrators; the same logger where it does so already. */
export const rememberingLogger = (
  logger: Logger,
  { clock, config }: { readonly clock: Clock; readonly config: Pick<Config, 'log'> },
): RememberingLogger =>
  logger instanceof RememberingLogger
    ? logger
    : new RememberingLogger(logger, new RecentErrors({ clock, maxBytes: config.log.recentErrorsBytes }));
