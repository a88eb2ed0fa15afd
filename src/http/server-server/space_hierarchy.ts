import { Type } from 'typebox';
import type { SpaceAnswers } from '#src/services/federation/queries/space-answers.ts';
import { anyObject, roomParams, roomSummary } from '../client-server/parts/room-schemas.ts';
import { endpoint } from '../endpoint.ts';

interface Services {
  readonly spaceAnswers: SpaceAnswers;
}

/** Server-Server API, "Spaces". */
export const federationSpaceHierarchyEndpoints = [
  endpoint({
    operationId: 'getSpaceHierarchy',
    summary: 'Retrieve a portion of a space tree.',
    method: 'GET',
    path: '/_matrix/federation/v1/hierarchy/{roomId}',
    auth: 'server',
    rateLimit: 'federation',
    params: roomParams,
    query: Type.Object({ suggested_only: Type.Optional(Type.Boolean()) }),
    response: Type.Object({
      room: Type.Object({ ...roomSummary, children_state: Type.Array(anyObject) }),
      children: Type.Array(Type.Object(roomSummary)),
      inaccessible_children: Type.Array(Type.String()),
    }),
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    handler({ spaceAnswers }: Services, { requester: { serverName }, params: { roomId }, query }) {
      return spaceAnswers.answer(serverName, roomId, query.suggested_only ?? false);
    },
  }),
];
