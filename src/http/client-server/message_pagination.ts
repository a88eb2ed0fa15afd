import type { History } from '#src/services/reading/history/history.ts';
import { endpoint } from '../endpoint.ts';
import { messagesAnswer, messagesQuery, messagesReply } from './parts/history-answers.ts';
import { roomParams } from './parts/room-schemas.ts';

interface Services {
  readonly history: History;
}

export const messagePaginationEndpoints = [
  endpoint({
    operationId: 'getRoomEvents',
    summary: 'Get a list of events for this room',
    method: 'GET',
    path: '/_matrix/client/v3/rooms/{roomId}/messages',
    auth: 'accessToken',
    guests: 'allowed',
    suspended: 'allowed',
    rateLimit: 'default',
    params: roomParams,
    query: messagesQuery,
    response: messagesAnswer,
    errcodes: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_NOT_JSON', 'M_BAD_JSON', 'M_LIMIT_EXCEEDED'],
    async handler({ history }: Services, { requester, params: { roomId }, query }) {
      return messagesReply(await history.messages(roomId, requester, { dir: 'f', ...query }));
    },
  }),
];
