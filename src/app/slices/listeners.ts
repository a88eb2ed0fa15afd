import type { HttpLimits } from '#src/http/dependencies.ts';
import { HttpServer } from '#src/http/server.ts';
import { BytesInFlight } from '#src/kernel/limits/bytes-in-flight.ts';
import { systemClock } from '#src/kernel/clock.ts';
import { LoopWatch } from '#src/kernel/event-loop/loop-watch.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { Turns } from '#src/kernel/event-loop/turns.ts';
import { connectionLimit, openFileLimit } from '../ground/open-files.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Outbound } from './outbound.ts';

/** Fewer than these are worth a warning. */
const FEW_CONNECTIONS = 4_000;
const HTTP_DRAIN_MS = 4_000;

/** What all requests pass through: listeners, admission, limits, authentication. */
export interface Listeners {
  readonly http: HttpServer;
  readonly loopWatch: LoopWatch;
  readonly bytesInFlight: BytesInFlight;
  readonly turns: Turns;
  readonly httpLimits: HttpLimits;
}

export function composeListeners(below: Platform & Outbound): Slice<Listeners> {
  const { clock, config, logger, metrics, rateLimiter, timers } = below;
  const { total, perUser, perAddress, perConnection } = config.bytesInFlight;
  const files = openFileLimit();
  const maxConnections = connectionLimit(config.http.maxConnections, files, config.database.poolSize);
  if (maxConnections < Math.min(config.http.maxConnections, FEW_CONNECTIONS)) {
    logger.warn('the limit of open files is too low for http.max_connections: raise it (ulimit -n)', {
      max_connections: maxConnections,
      configured: config.http.maxConnections,
      open_files: files,
    });
  }
  const http = new HttpServer({
    logger,
    timers,
    metrics,
    rateLimiter,
    trustedProxies: config.http.trustedProxies,
    limits: { maxConnections, maxConnectionsPerAddress: config.http.maxConnectionsPerAddress },
  });
  const loopWatch = new LoopWatch({
    // The event loop uses the machine's clock, whatever clock the services use.
    clock: systemClock,
    timers: systemTimers,
    logger,
    metrics,
    processorMs,
    reportFromMs: config.log.heldLoopMs,
  });
  return {
    name: 'listeners',
    services: {
      http,
      loopWatch,
      bytesInFlight: new BytesInFlight(
        { total, user: perUser, address: perAddress, connection: perConnection },
        metrics,
      ),
      turns: new Turns({ clock, metrics, maxWaiting: Math.ceil(config.http.maxConcurrentRequests / 2) }),
      httpLimits: {
        maxBodyBytes: config.http.maxBodyBytes,
        maxUploadBytes: config.media.maxUploadBytes,
        maxStrangerBodyBytes: config.http.maxStrangerBodyBytes,
        maxJsonValues: config.http.maxJsonValues,
        bodyTimeoutMs: config.http.bodyTimeoutMs,
        answerTimeoutMs: config.http.answerTimeoutMs,
        maxConcurrentRequests: config.http.maxConcurrentRequests,
        compressFromBytes: config.http.compressFromBytes,
      },
    },
    start: () => loopWatch.start(),
    drain: () => http.drain(HTTP_DRAIN_MS),
    close: () => loopWatch.close(),
  };
}

/** Milliseconds of processor time that this thread has taken so far. */
const processorMs = (): number => {
  const { system, user } = process.threadCpuUsage();
  return (user + system) / 1000;
};
