import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { SpaceHierarchy } from '#src/services/rooms/spaces/space-hierarchy.ts';
import { endpoint } from '../endpoint.ts';
import { anyObject, roomParams, roomSummary } from './parts/room-schemas.ts';

interface Services {
  readonly hierarchy: SpaceHierarchy;
}

export const spaceHierarchyEndpoints = [
  endpoint({
    operationId: 'getSpaceHierarchy',
    summary: 'Retrieve a portion of a space tree',
    method: 'GET',
    path: '/_matrix/client/v1/rooms/{roomId}/hierarchy',
    auth: 'accessToken',
    guests: {
      allowed: 'it shows only rooms that the user may join or read; clients use it to preview spaces',
    },
    suspended: READS,
    rateLimit: 'default',
    params: roomParams,
    query: Type.Object({
      suggested_only: Type.Optional(Type.Boolean()),
      limit: Type.Optional(Type.Integer({ minimum: 1 })),
      max_depth: Type.Optional(Type.Integer({ minimum: 0 })),
      from: Type.Optional(Type.String()),
      // MSC4235.
      via: Type.Optional(Type.Array(Type.String())),
      'org.matrix.msc4235.via': Type.Optional(Type.Array(Type.String())),
    }),
    response: Type.Object({
      rooms: Type.Array(Type.Object({ ...roomSummary, children_state: Type.Array(anyObject) })),
      next_batch: Type.Optional(Type.String()),
    }),
    errcodes: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ hierarchy }: Services, { requester, params: { roomId }, query }) {
      const { rooms, next } = await hierarchy.page(roomId, requester.userId, {
        suggestedOnly: query.suggested_only ?? false,
        maxDepth: query.max_depth,
        limit: query.limit,
        from: query.from,
        via: query.via ?? query['org.matrix.msc4235.via'],
      });
      return { rooms, ...(next === undefined ? {} : { next_batch: next }) };
    },
  }),
];
