import { Type } from 'typebox';
import { OTHERS_SEE, READS } from '#src/services/accounts/admission/access-rules.ts';
import type { AliasService } from '#src/services/rooms/aliases/alias-service.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { empty, roomParams } from './parts/room-schemas.ts';

const path = '/_matrix/client/v3/directory/room/{roomAlias}';
const params = Type.Object({ roomAlias: Type.String() });

interface Services {
  readonly aliases: AliasService;
}

export const directoryEndpoints = [
  endpoint({
    operationId: 'setRoomAlias',
    summary: 'Create a new mapping from room alias to room ID',
    method: 'PUT',
    path,
    auth: 'accessToken',
    guests: 'refused',
    suspended: OTHERS_SEE,
    rateLimit: 'default',
    params,
    body: Type.Object({ room_id: Type.String() }),
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    errcodes: ['M_INVALID_PARAM', 'M_FORBIDDEN', 'M_EXCLUSIVE', 'M_TOO_LARGE', 'M_LIMIT_EXCEEDED'],
    answers: { 409: { description: 'M_UNKNOWN: the alias is taken.' } },
    async handler({ aliases }: Services, { requester, params: { roomAlias }, body }) {
      await aliases.create(requester, roomAlias, body.room_id);
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
    errcodes: [
      'M_NOT_FOUND',
      'M_INVALID_PARAM',
      'M_FORBIDDEN',
      'M_CONNECTION_FAILED',
      'M_CONNECTION_TIMEOUT',
      'M_LIMIT_EXCEEDED',
    ],
    async handler({ aliases }: Services, { params: { roomAlias } }) {
      const { roomId, servers } = await aliases.resolve(roomAlias);
      return { room_id: roomId, servers };
    },
  }),
  endpoint({
    operationId: 'deleteRoomAlias',
    summary: 'Remove a mapping of room alias to room ID',
    method: 'DELETE',
    path,
    auth: 'accessToken',
    guests: 'refused',
    suspended: OTHERS_SEE,
    rateLimit: 'default',
    params,
    response: empty,
    errcodes: ['M_NOT_FOUND', 'M_FORBIDDEN', 'M_EXCLUSIVE', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ aliases }: Services, { requester, params: { roomAlias } }) {
      await aliases.delete(requester, roomAlias);
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
    guests: { refused: 'the canonical alias and its alternatives are in the state of the room' },
    suspended: READS,
    rateLimit: 'default',
    params: roomParams,
    response: Type.Object({ aliases: Type.Array(Type.String()) }),
    errcodes: ['M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    async handler({ aliases }: Services, { requester, params: { roomId } }) {
      return { aliases: await aliases.ofRoom(requester, roomId) };
    },
  }),
];
