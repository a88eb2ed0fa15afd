import { Type } from 'typebox';
import type { HistoryAnswers } from '#src/services/federation/history/history-answers.ts';
import { anyObject } from '../client-server/parts/room-schemas.ts';
import { endpoint, Reply } from '../endpoint.ts';

interface Services {
  readonly historyAnswers: HistoryAnswers;
}

/** Server-Server API, "Retrieve a room's auth chain". */
export const eventAuthEndpoints = [
  endpoint({
    operationId: 'getEventAuth',
    summary: 'Retrieves the auth chain for a given event.',
    method: 'GET',
    path: '/_matrix/federation/v1/event_auth/{roomId}/{eventId}',
    auth: 'server',
    rateLimit: 'federation',
    params: Type.Object({ roomId: Type.String(), eventId: Type.String() }),
    response: Type.Object({ auth_chain: Type.Array(anyObject) }),
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND'],
    async handler({ historyAnswers }: Services, { requester: { serverName }, params: { eventId, roomId } }) {
      const stream = await historyAnswers.eventAuth(serverName, roomId, eventId);
      return new Reply({ stream });
    },
  }),
];
