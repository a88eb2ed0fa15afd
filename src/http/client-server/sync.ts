import { type Static, Type } from 'typebox';
import type { SyncPoll, SyncPolls } from '#src/services/sync/v3/sync-polls.ts';
import { endpoint, Reply } from '../endpoint.ts';

interface Services {
  readonly syncPolls: SyncPolls;
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

/** The name under which the client asks for `state_after`: the stable one, or that of MSC4222 from before it was accepted. */
const stateAfterOf = (query: Static<typeof Query>): SyncPoll['stateAfter'] => {
  if (query.use_state_after === true) return 'state_after';
  return query['org.matrix.msc4222.use_state_after'] === true ? 'org.matrix.msc4222.state_after' : undefined;
};

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
    handler: async ({ syncPolls }: Services, { query, requester, info }) =>
      new Reply({
        json: await syncPolls.poll(
          requester,
          {
            since: query.since,
            filter: query.filter,
            fullState: query.full_state,
            presence: query.set_presence,
            timeout: query.timeout,
            stateAfter: stateAfterOf(query),
          },
          info.signal,
        ),
      }),
  }),
];
