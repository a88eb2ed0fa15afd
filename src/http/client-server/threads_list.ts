import { Type } from 'typebox';
import type { ThreadsList } from '#src/services/reading/relations/threads-list.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { clientEvent, jsonList, jsonReply, roomParams } from './room-schemas.ts';

export const threadsListEndpoints = (services: { readonly threads: ThreadsList }): readonly Endpoint[] => [
  endpoint({
    operationId: 'getThreadRoots',
    summary: 'Fetches a list of the threads in a room',
    method: 'GET',
    path: '/_matrix/client/v1/rooms/{roomId}/threads',
    auth: 'accessTokenOrGuest',
    rateLimit: 'default',
    params: roomParams,
    query: Type.Object({
      include: Type.Optional(Type.Union([Type.Literal('all'), Type.Literal('participated')])),
      limit: Type.Optional(Type.Integer({ minimum: 1 })),
      from: Type.Optional(Type.String()),
    }),
    response: Type.Object({ chunk: Type.Array(clientEvent), next_batch: Type.Optional(Type.String()) }),
    errors: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { roomId }, query: { include, limit, from } }) {
      const page = await services.threads.page(roomId, requester, {
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
