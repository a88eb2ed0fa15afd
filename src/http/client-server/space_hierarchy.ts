import { Type } from 'typebox';
import type { SpaceHierarchy } from '#src/services/rooms/spaces/space-hierarchy.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { anyObject, roomParams } from './room-schemas.ts';
import { roomSummary } from './room_summary.ts';

export const spaceHierarchyEndpoints = (services: { readonly hierarchy: SpaceHierarchy }): readonly Endpoint[] => [
  endpoint({
    operationId: 'getSpaceHierarchy',
    summary: 'Retrieve a portion of a space tree',
    method: 'GET',
    path: '/_matrix/client/v1/rooms/{roomId}/hierarchy',
    auth: 'accessTokenOrGuest',
    rateLimit: 'default',
    params: roomParams,
    query: Type.Object({
      suggested_only: Type.Optional(Type.Boolean()),
      limit: Type.Optional(Type.Integer({ minimum: 1 })),
      max_depth: Type.Optional(Type.Integer({ minimum: 0 })),
      from: Type.Optional(Type.String()),
    }),
    response: Type.Object({
      rooms: Type.Array(Type.Object({ ...roomSummary, children_state: Type.Array(anyObject) })),
      next_batch: Type.Optional(Type.String()),
    }),
    errors: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { roomId }, query }) {
      const { rooms, next } = await services.hierarchy.page(roomId, requester.userId, {
        suggestedOnly: query.suggested_only ?? false,
        maxDepth: query.max_depth,
        limit: query.limit,
        from: query.from,
      });
      return { rooms, ...(next === undefined ? {} : { next_batch: next }) };
    },
  }),
];
