import { Type } from 'typebox';
import type { ThreadsList } from '#src/services/reading/relations/threads-list.ts';
import { endpoint } from '../endpoint.ts';
import { clientEvent, jsonList, jsonReply, roomParams } from './parts/room-schemas.ts';

interface Services {
  readonly threads: ThreadsList;
}

export const threadsListEndpoints = [
  endpoint({
    operationId: 'getThreadRoots',
    summary: 'Fetches a list of the threads in a room',
    method: 'GET',
    path: '/_matrix/client/v1/rooms/{roomId}/threads',
    auth: 'accessToken',
    guests: { allowed: 'another way through the events of getRoomEvents, under the same visibility' },
    suspended: 'allowed',
    rateLimit: 'default',
    params: roomParams,
    query: Type.Object({
      include: Type.Optional(Type.Union([Type.Literal('all'), Type.Literal('participated')])),
      limit: Type.Optional(Type.Integer({ minimum: 1 })),
      from: Type.Optional(Type.String()),
    }),
    response: Type.Object({ chunk: Type.Array(clientEvent), next_batch: Type.Optional(Type.String()) }),
    errcodes: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ threads }: Services, { requester, params: { roomId }, query: { include, limit, from } }) {
      const page = await threads.page(roomId, requester, {
        participated: include === 'participated',
        limit,
        from,
      });
      return jsonReply({
        chunk: jsonList(page.chunk),
        next_batch: page.next === undefined ? undefined : JSON.stringify(page.next),
      });
    },
  }),
];
