import Type from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Filter } from '#src/protocol/filters/filter.ts';
import { decodeSyncToken } from '#src/protocol/wire/position.ts';
import type { SessionPolls } from '#src/services/accounts/sessions/session-polls.ts';
import type { V3Sync } from '#src/services/sync/v3/v3-sync.ts';
import { endpoint, Reply } from '../endpoint.ts';

interface Services {
  readonly sessionPolls: SessionPolls;
  readonly sync: V3Sync;
  readonly filters: { filterFor(userId: string, filter: string | undefined): Promise<Filter> };
  readonly presence: { seen(userId: string, presence: 'online' | 'offline' | 'unavailable', deviceId?: string): void };
  /** Longest wait for news, in milliseconds, whatever a client asks for. */
  readonly greatestTimeoutMs: number;
}

const Events = Type.Object({ events: Type.Array(Type.Object({})) });
const SyncResponse = Type.Object({
  next_batch: Type.String(),
  rooms: Type.Optional(
    Type.Object({
      join: Type.Optional(Type.Record(Type.String(), Type.Object({}))),
      invite: Type.Optional(Type.Record(Type.String(), Type.Object({}))),
      knock: Type.Optional(Type.Record(Type.String(), Type.Object({}))),
      leave: Type.Optional(Type.Record(Type.String(), Type.Object({}))),
    }),
  ),
  account_data: Type.Optional(Events),
  presence: Type.Optional(Events),
});

const Query = Type.Object({
  filter: Type.Optional(Type.String()),
  since: Type.Optional(Type.String()),
  full_state: Type.Optional(Type.Boolean()),
  set_presence: Type.Optional(
    Type.Union([Type.Literal('offline'), Type.Literal('online'), Type.Literal('unavailable')]),
  ),
  timeout: Type.Optional(Type.Integer()),
  use_state_after: Type.Optional(Type.Boolean()),
  'org.matrix.msc4222.use_state_after': Type.Optional(Type.Boolean()),
});

/** Client-Server API, "Syncing". */
export const syncEndpoints = [
  endpoint({
    operationId: 'sync',
    summary: 'What happened since a position',
    method: 'GET',
    path: '/_matrix/client/v3/sync',
    auth: 'accessToken',
    guests: 'allowed',
    suspended: 'allowed',
    rateLimit: 'sync',
    longPoll: true,
    query: Query,
    response: SyncResponse,
    errcodes: ['M_INVALID_PARAM', 'M_NOT_FOUND'],
    handler: async (
      { filters, greatestTimeoutMs, presence, sessionPolls, sync }: Services,
      { query, requester, info },
    ) => {
      const since = query.since === undefined || query.since === '' ? undefined : decodeSyncToken(query.since);
      if (since === undefined && query.since !== undefined && query.since !== '') {
        throw new MatrixError('M_INVALID_PARAM', '"since" must be a next_batch that this server gave out.');
      }
      presence.seen(requester.userId, query.set_presence ?? 'online', requester.deviceId ?? '');
      const request = {
        userId: requester.userId,
        deviceId: requester.deviceId,
        since,
        filter: await filters.filterFor(requester.userId, query.filter),
        fullState: query.full_state ?? false,
        timeout: Math.min(Math.max(query.timeout ?? 0, 0), greatestTimeoutMs),
        stateAfter:
          query.use_state_after === true
            ? ('state_after' as const)
            : query['org.matrix.msc4222.use_state_after'] === true
              ? ('org.matrix.msc4222.state_after' as const)
              : undefined,
      };
      const { body } = await sessionPolls.wait(requester, info.signal, (signal) => sync.sync({ ...request, signal }));
      return new Reply({ json: body });
    },
  }),
];
