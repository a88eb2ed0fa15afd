import type { Context } from 'koa';
import type { Clock } from '#src/kernel/clock.ts';
import { LogFlood } from '#src/kernel/logging/log-flood.ts';
import type { LogFields, Logger } from '#src/kernel/logger.ts';
import type { Metrics } from '#src/kernel/metrics.ts';
import type { Timers } from '#src/kernel/timers.ts';
import type { Work } from '#src/kernel/event-loop/work.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { Origin } from './authentication.ts';

const BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** How requests are logged. Errors (status 400 and up) and slow requests are always at `info`. */
export interface RequestLogOptions {
  /** Level of all other requests. */
  readonly level: 'debug' | 'info';
  /** Milliseconds from which on a request counts as slow. Endpoints that declare `longPoll` never do. */
  readonly slowMs: number;
  /** Called for each slow request. */
  readonly onSlow?: (request: SlowRequest) => void;
}

/** A request that took long. Its path and query are not kept: they may hold tokens and names. */
export interface SlowRequest {
  /** When it was answered, in milliseconds since the epoch. */
  readonly ts: number;
  readonly ms: number;
  readonly method: string;
  readonly operation: string;
  readonly status: number;
  readonly errcode?: string | undefined;
  /** The sender: a user, or another server. */
  readonly user?: string | undefined;
  readonly server?: string | undefined;
  readonly ip: string;
  readonly requestId: string;
  /** What it cost: SQL statements and the rows that they returned, bytes of body and answer. */
  readonly statements: number;
  readonly rows: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

interface Recorded {
  readonly requestId: string;
  readonly ip: string;
  readonly operation: { readonly name: string; readonly endpoint: { readonly longPoll?: boolean } } | undefined;
  readonly work: Pick<Work, 'statements' | 'rows' | 'bytesIn' | 'bytesOut'> | undefined;
  readonly requester: Requester | undefined;
  readonly origin: Origin | undefined;
  /** The errcode with which it was refused. */
  readonly errcode?: string | undefined;
  /** The client went away before there was an answer. */
  readonly isGone: boolean;
}

/**
 * One log line and one sample per request; of refusals of one kind only so many lines, and then how many more there were. The path is not logged: it may hold tokens and names; the operation says what was asked.
 * A client that went away before it was answered is written as status 499.
 */
export const requestRecorder = (
  deps: { readonly clock: Clock; readonly logger: Logger; readonly metrics: Metrics; readonly timers: Timers },
  options: RequestLogOptions,
): ((ctx: Context, request: Recorded, ms: number) => void) => {
  const seconds = deps.metrics.histogram(
    'tsudoi_http_request_seconds',
    'Time from the start of a request to its answer.',
    BUCKETS_SECONDS,
    ['operation', 'status'],
  );
  const flood = new LogFlood(deps.logger, deps.timers);
  return (ctx, request, ms) => {
    const gone = request.isGone || (!ctx.res.writableFinished && ctx.res.destroyed);
    const status = gone ? 499 : ctx.status;
    const operation = request.operation?.name ?? (ctx.method === 'OPTIONS' ? 'preflight' : 'unknown');
    seconds.observe(ms / 1000, { operation, status: String(status) });
    const slow = ms >= options.slowMs && request.operation?.endpoint.longPoll !== true;
    const fields: LogFields = {
      method: ctx.method,
      operation,
      status,
      errcode: request.errcode,
      ms: Math.round(ms * 100) / 100,
      user_id: request.requester?.userId,
      server: request.origin?.serverName,
      ip: request.ip,
      request_id: request.requestId,
      ...(slow ? { slow } : {}),
    };
    if (slow) options.onSlow?.(slowRequest(deps.clock.now(), ctx.method, operation, status, request, ms));
    if (status >= 400) flood.write('info', `${operation} ${status} ${request.errcode ?? ''}`.trim(), 'request', fields);
    else if (slow || options.level === 'info') deps.logger.info('request', fields);
    else deps.logger.debug('request', fields);
  };
};

const slowRequest = (
  ts: number,
  method: string,
  operation: string,
  status: number,
  { errcode, ip, origin, requestId, requester, work }: Recorded,
  ms: number,
): SlowRequest => ({
  ts,
  ms: Math.round(ms),
  method,
  operation,
  status,
  errcode,
  user: requester?.userId,
  server: origin?.serverName,
  ip,
  requestId,
  statements: work?.statements ?? 0,
  rows: work?.rows ?? 0,
  bytesIn: work?.bytesIn ?? 0,
  bytesOut: work?.bytesOut ?? 0,
});
