import type { History } from '#src/services/reading/history/history.ts';
import { endpoint } from '../endpoint.ts';
import { contextAnswer, contextParams, contextQuery, contextReply } from './parts/history-answers.ts';

interface Services {
  readonly history: History;
}

export const eventContextEndpoints = [
  endpoint({
    operationId: 'getEventContext',
    summary: 'Get events and state around the specified event',
    method: 'GET',
    path: '/_matrix/client/v3/rooms/{roomId}/context/{eventId}',
    auth: 'accessToken',
    guests: 'allowed',
    suspended: 'allowed',
    rateLimit: 'default',
    params: contextParams,
    query: contextQuery,
    response: contextAnswer,
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INVALID_PARAM', 'M_NOT_JSON', 'M_BAD_JSON', 'M_LIMIT_EXCEEDED'],
    async handler({ history }: Services, { requester, params: { roomId, eventId }, query }) {
      return contextReply(await history.context(roomId, requester, eventId, query));
    },
  }),
];
