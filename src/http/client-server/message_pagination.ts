import { Type } from 'typebox';
import type { History } from '#src/services/reading/history/history.ts';
import { endpoint } from '../endpoint.ts';
import { roomFilter } from './parts/room-filter.ts';
import { clientEvent, jsonList, jsonReply, roomParams } from './parts/room-schemas.ts';

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
    query: Type.Object({
      from: Type.Optional(Type.String()),
      to: Type.Optional(Type.String()),
      // Required by the specification, and left out by clients that other servers serve.
      dir: Type.Optional(Type.Union([Type.Literal('b'), Type.Literal('f')])),
      limit: Type.Optional(Type.Integer({ minimum: 0 })),
      filter: Type.Optional(roomFilter),
    }),
    response: Type.Object({
      start: Type.String(),
      end: Type.Optional(Type.String()),
      chunk: Type.Array(clientEvent),
      state: Type.Optional(Type.Array(clientEvent)),
    }),
    errcodes: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_NOT_JSON', 'M_BAD_JSON', 'M_LIMIT_EXCEEDED'],
    async handler({ history }: Services, { requester, params: { roomId }, query }) {
      const page = await history.messages(roomId, requester, { dir: 'f', ...query });
      return jsonReply({
        start: JSON.stringify(page.start),
        end: page.end === undefined ? undefined : JSON.stringify(page.end),
        chunk: jsonList(page.chunk),
        state: page.state === undefined ? undefined : jsonList(page.state),
      });
    },
  }),
];
