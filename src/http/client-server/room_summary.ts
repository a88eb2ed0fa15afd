import { Type } from 'typebox';
import type { RoomSummaries } from '#src/services/rooms/directory/room-summaries.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { publicRoom } from './room-schemas.ts';

/** A room as those see it who may want to join. */
export const roomSummary = {
  ...publicRoom,
  room_version: Type.String(),
  encryption: Type.Optional(Type.String()),
  allowed_room_ids: Type.Optional(Type.Array(Type.String())),
};

const unstable = '/_matrix/client/unstable/im.nheko.summary';

export const roomSummaryEndpoints = (services: { readonly roomSummaries: RoomSummaries }): readonly Endpoint[] => [
  endpoint({
    operationId: 'getRoomSummary',
    summary: 'Retrieves a summary for a room',
    method: 'GET',
    path: '/_matrix/client/v1/room_summary/{roomIdOrAlias}',
    aliases: [`${unstable}/summary/{roomIdOrAlias}`, `${unstable}/rooms/{roomIdOrAlias}/summary`],
    auth: 'optionalToken',
    rateLimit: 'default',
    params: Type.Object({ roomIdOrAlias: Type.String() }),
    response: Type.Object({ ...roomSummary, membership: Type.Optional(Type.String()) }, { additionalProperties: true }),
    errors: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { roomIdOrAlias }, info: { path } }) {
      const summary = await services.roomSummaries.summary(roomIdOrAlias, requester?.userId);
      if (!path.startsWith(unstable)) return summary;
      // MSC3266 had names of its own for what was new in it.
      const { room_version: version, encryption } = summary;
      return {
        ...summary,
        'im.nheko.summary.room_version': version,
        'im.nheko.summary.version': version,
        ...(encryption === undefined ? {} : { 'im.nheko.summary.encryption': encryption }),
      };
    },
  }),
];
