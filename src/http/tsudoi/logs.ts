import { Type } from 'typebox';
import type { RecentEntries } from '#src/kernel/caches/recent-entries.ts';
import type { RecentErrors, ShownError } from '#src/kernel/logging/recent-errors.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from '../synapse-admin/parts/access.ts';
import type { SlowRequest } from '../middleware/request-log.ts';

const page = {
  from: Type.Optional(Type.Integer({ minimum: 1 })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000 })),
};
const PAGE = 100;
const optionalText = Type.Optional(Type.String());

const error = Type.Cyclic(
  {
    Error: Type.Object({
      name: Type.String(),
      message: Type.String(),
      code: optionalText,
      stack: optionalText,
      cause: Type.Optional(Type.Ref('Error')),
    }),
  },
  'Error',
);

interface Services {
  readonly recentErrors: RecentErrors;
  readonly slowRequests: RecentEntries<SlowRequest>;
}

const nextOf = (next: number | undefined): { next_batch?: number } => (next === undefined ? {} : { next_batch: next });
const errorOf = (shown: ShownError | undefined): { error?: ShownError } =>
  shown === undefined ? {} : { error: shown };

/** Recent warnings, errors and slow requests of the process that answers. They are kept in memory only. */
export const logEndpoints = [
  endpoint({
    operationId: 'listRecentErrors',
    summary: 'The newest warnings and errors of this process.',
    method: 'GET',
    path: '/_tsudoi/admin/v1/errors',
    ...OF_ADMINISTRATORS,
    query: Type.Object({ ...page, level: Type.Optional(Type.Enum(['warn', 'error'])) }),
    response: Type.Object({
      errors: Type.Array(
        Type.Object({
          id: Type.Integer(),
          ts: Type.Integer(),
          last_ts: Type.Integer(),
          count: Type.Integer(),
          level: Type.Enum(['warn', 'error']),
          message: Type.String(),
          error: Type.Optional(error),
          fields: Type.Record(Type.String(), Type.Unknown()),
        }),
      ),
      next_batch: Type.Optional(Type.Integer()),
    }),
    errcodes: [],
    async handler({ recentErrors }: Services, { query: { from, level, limit } }) {
      const { entries, next } = recentErrors.list(limit ?? PAGE, from, level !== 'error');
      return {
        errors: entries.map(({ entry: { error: shown, lastTs, ...entry }, seq }) => ({
          id: seq,
          last_ts: lastTs,
          ...entry,
          ...errorOf(shown),
        })),
        ...nextOf(next),
      };
    },
  }),
  endpoint({
    operationId: 'listSlowRequests',
    summary: 'The newest requests that took longer than log.slow_request_ms in this process.',
    method: 'GET',
    path: '/_tsudoi/admin/v1/slow_requests',
    ...OF_ADMINISTRATORS,
    query: Type.Object(page),
    response: Type.Object({
      slow_requests: Type.Array(
        Type.Object({
          id: Type.Integer(),
          ts: Type.Integer(),
          ms: Type.Integer(),
          method: Type.String(),
          operation: Type.String(),
          status: Type.Integer(),
          errcode: optionalText,
          user: optionalText,
          server: optionalText,
          ip: Type.String(),
          request_id: Type.String(),
          statements: Type.Integer(),
          rows: Type.Integer(),
          bytes_in: Type.Integer(),
          bytes_out: Type.Integer(),
        }),
      ),
      next_batch: Type.Optional(Type.Integer()),
    }),
    errcodes: [],
    async handler({ slowRequests }: Services, { query: { from, limit } }) {
      const { entries, next } = slowRequests.list(limit ?? PAGE, from);
      return {
        slow_requests: entries.map(({ entry: { bytesIn, bytesOut, requestId, ...entry }, seq }) => ({
          id: seq,
          ...entry,
          request_id: requestId,
          bytes_in: bytesIn,
          bytes_out: bytesOut,
        })),
        ...nextOf(next),
      };
    },
  }),
];
