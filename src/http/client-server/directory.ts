import { Type } from 'typebox';
import type { AliasService } from '#src/services/rooms/aliases/alias-service.ts';
import type { PublicRooms } from '#src/services/rooms/directory/public-rooms.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { empty, roomParams } from './room-schemas.ts';

const path = '/_matrix/client/v3/directory/room/{roomAlias}';
const params = Type.Object({ roomAlias: Type.String() });
const visibility = Type.Union([Type.Literal('public'), Type.Literal('private')]);

export const directoryEndpoints = (services: {
  readonly aliases: AliasService;
  readonly publicRooms: PublicRooms;
}): readonly Endpoint[] => [
  endpoint({
    operationId: 'setRoomAlias',
    summary: 'Create a new mapping from room alias to room ID',
    method: 'PUT',
    path,
    auth: 'accessToken',
    rateLimit: 'default',
    params,
    body: Type.Object({ room_id: Type.String() }),
    response: empty,
    errors: ['M_UNKNOWN', 'M_INVALID_PARAM', 'M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { roomAlias }, body }) {
      await services.aliases.create(requester.userId, roomAlias, body.room_id);
      return {};
    },
  }),
  endpoint({
    operationId: 'getRoomIdByAlias',
    summary: 'Get the room ID corresponding to this room alias',
    method: 'GET',
    path,
    auth: 'none',
    rateLimit: 'default',
    params,
    response: Type.Object({ room_id: Type.String(), servers: Type.Array(Type.String()) }),
    errors: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ params: { roomAlias } }) {
      const { roomId, servers } = await services.aliases.resolve(roomAlias);
      return { room_id: roomId, servers };
    },
  }),
  endpoint({
    operationId: 'deleteRoomAlias',
    summary: 'Remove a mapping of room alias to room ID',
    method: 'DELETE',
    path,
    auth: 'accessToken',
    rateLimit: 'default',
    params,
    response: empty,
    errors: ['M_NOT_FOUND', 'M_FORBIDDEN', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { roomAlias } }) {
      await services.aliases.delete(requester, roomAlias);
      return {};
    },
  }),
  endpoint({
    operationId: 'getLocalAliases',
    summary: 'Get a list of local aliases on a given room',
    method: 'GET',
    path: '/_matrix/client/v3/rooms/{roomId}/aliases',
    aliases: ['/_matrix/client/unstable/org.matrix.msc2432/rooms/{roomId}/aliases'],
    auth: 'accessToken',
    rateLimit: 'default',
    params: roomParams,
    response: Type.Object({ aliases: Type.Array(Type.String()) }),
    errors: ['M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { roomId } }) {
      return { aliases: await services.aliases.ofRoom(requester.userId, roomId) };
    },
  }),
  endpoint({
    operationId: 'getRoomVisibilityOnDirectory',
    summary: 'Gets the visibility of a room in the directory',
    method: 'GET',
    path: '/_matrix/client/v3/directory/list/room/{roomId}',
    auth: 'none',
    rateLimit: 'default',
    params: roomParams,
    response: Type.Object({ visibility }),
    errors: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handle({ params: { roomId } }) {
      return { visibility: (await services.publicRooms.isListed(roomId)) ? 'public' : 'private' };
    },
  }),
  endpoint({
    operationId: 'setRoomVisibilityOnDirectory',
    summary: 'Sets the visibility of a room in the room directory',
    method: 'PUT',
    path: '/_matrix/client/v3/directory/list/room/{roomId}',
    auth: 'accessToken',
    rateLimit: 'default',
    params: roomParams,
    body: Type.Object({ visibility: Type.Optional(visibility) }),
    bodyOptional: true,
    response: empty,
    errors: ['M_NOT_FOUND', 'M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { roomId }, body }) {
      await services.publicRooms.setListed(requester, roomId, body.visibility !== 'private');
      return {};
    },
  }),
];
