import { Type } from 'typebox';
import type { HistoryAnswers } from '#src/services/federation/history/history-answers.ts';
import { anyObject, roomParams } from '../client-server/parts/room-schemas.ts';
import { endpoint, Reply } from '../endpoint.ts';

interface Services {
  readonly historyAnswers: HistoryAnswers;
}

const DEFAULT_LIMIT = 10;

const eventIds = Type.Array(Type.String());
const transaction = Type.Object({
  origin: Type.String(),
  origin_server_ts: Type.Integer(),
  pdus: Type.Array(anyObject),
});

/** Server-Server API, "Backfilling and retrieving missing events". */
export const backfillEndpoints = [
  endpoint({
    operationId: 'backfillRoom',
    summary: 'Retrieves the events which precede the given event.',
    method: 'GET',
    path: '/_matrix/federation/v1/backfill/{roomId}',
    auth: 'server',
    rateLimit: 'federation',
    params: roomParams,
    query: Type.Object({ v: eventIds, limit: Type.Integer() }),
    response: transaction,
    errcodes: ['M_FORBIDDEN'],
    async handler({ historyAnswers }: Services, { requester: { serverName }, params: { roomId }, query }) {
      return new Reply({ json: await historyAnswers.backfill(serverName, roomId, query.v, query.limit) });
    },
  }),
  endpoint({
    operationId: 'getMissingPreviousEvents',
    summary: 'Retrieves events that the sender is missing.',
    method: 'POST',
    path: '/_matrix/federation/v1/get_missing_events/{roomId}',
    auth: 'server',
    rateLimit: 'federation',
    params: roomParams,
    body: Type.Object({
      earliest_events: eventIds,
      latest_events: eventIds,
      limit: Type.Optional(Type.Integer()),
      min_depth: Type.Optional(Type.Integer()),
    }),
    response: Type.Object({ events: Type.Array(anyObject) }),
    errcodes: ['M_FORBIDDEN'],
    async handler({ historyAnswers }: Services, { requester: { serverName }, params: { roomId }, body }) {
      const { earliest_events: earliest, latest_events: latest, limit = DEFAULT_LIMIT, min_depth: minDepth = 0 } = body;
      return new Reply({
        json: await historyAnswers.missingEvents(serverName, roomId, { earliest, latest, limit, minDepth }),
      });
    },
  }),
];
