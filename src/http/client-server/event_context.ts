import { Type } from 'typebox';
import type { History } from '#src/services/reading/history/history.ts';
import { endpoint } from '../endpoint.ts';
import { roomFilter } from './parts/room-filter.ts';
import { clientEvent, jsonList, jsonReply } from './parts/room-schemas.ts';

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
    params: Type.Object({ roomId: Type.String(), eventId: Type.String() }),
    query: Type.Object({ limit: Type.Optional(Type.Integer({ minimum: 0 })), filter: Type.Optional(roomFilter) }),
    response: Type.Object({
      start: Type.String(),
      end: Type.String(),
      event: clientEvent,
      events_before: Type.Array(clientEvent),
      events_after: Type.Array(clientEvent),
      state: Type.Array(clientEvent),
    }),
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INVALID_PARAM', 'M_NOT_JSON', 'M_BAD_JSON', 'M_LIMIT_EXCEEDED'],
    async handler({ history }: Services, { requester, params: { roomId, eventId }, query }) {
      const context = await history.context(roomId, requester, eventId, query);
      return jsonReply({
        start: JSON.stringify(context.start),
        end: JSON.stringify(context.end),
        event: context.event,
        events_before: jsonList(context.before),
        events_after: jsonList(context.after),
        state: jsonList(context.state),
      });
    },
  }),
];
