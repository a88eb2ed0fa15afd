import type { SlowRequest } from '#src/http/middleware/request-log.ts';
import { RecentEntries } from '#src/kernel/caches/recent-entries.ts';
import type { RecentErrors } from '#src/kernel/logging/recent-errors.ts';
import { measureCaches } from '#src/kernel/caches/counted-cache.ts';
import type { Platform } from '../ground/platform.ts';
import { rememberingLogger } from '../ground/remembering-logger.ts';
import type { ServerFiles } from '../ground/server-files.ts';
import type { Slice } from '../ground/slice.ts';

/** Recent logs and slow requests of this process, for administrators. */
export interface Watching {
  readonly recentErrors: RecentErrors;
  readonly slowRequests: RecentEntries<SlowRequest>;
}

export function composeWatching({
  clock,
  config,
  logger,
  metrics,
  version,
}: Platform & Pick<ServerFiles, 'version'>): Slice<Watching> {
  const recentErrors = rememberingLogger(logger, { clock, config }).recent;
  const slowRequests = new RecentEntries<SlowRequest>(config.log.slowRequestsBytes);
  metrics.valuesOf({
    name: 'tsudoi_build_info',
    help: '1, with the version as a label',
    kind: 'gauge',
    labelNames: ['version'],
    read: () => [{ labels: { version }, value: 1 }],
  });
  metrics.valuesOf({
    name: 'tsudoi_log_lines_total',
    help: 'log lines at level warn and error',
    kind: 'counter',
    labelNames: ['level'],
    read: () => recentErrors.tally.samples('level'),
  });
  metrics.valuesOf({
    name: 'tsudoi_slow_requests_total',
    help: 'requests that took longer than log.slow_request_ms',
    kind: 'counter',
    read: () => [{ labels: {}, value: slowRequests.total }],
  });
  measureCaches(metrics);
  return { name: 'watching', services: { recentErrors, slowRequests } };
}
