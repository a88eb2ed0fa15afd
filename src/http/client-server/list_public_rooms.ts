import { Type } from 'typebox';
import { OTHERS_SEE, READS } from '#src/services/accounts/admission/access-rules.ts';
import type { PublicRooms } from '#src/services/rooms/directory/public-rooms.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { empty, publicRoomsFilter, publicRoomsPage, roomParams } from './parts/room-schemas.ts';

const path = '/_matrix/client/v3/publicRooms';

/** When another server is to be asked. */
const REMOTE_ERRORS = ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_CONNECTION_FAILED', 'M_CONNECTION_TIMEOUT'] as const;

const limit = Type.Optional(Type.Integer({ minimum: 0 }));
const server = Type.Optional(Type.String());
const visibility = Type.Union([Type.Literal('public'), Type.Literal('private')]);

interface Services {
  readonly publicRooms: PublicRooms;
}

export const listPublicRoomsEndpoints = [
  endpoint({
    operationId: 'getPublicRooms',
    summary: 'Lists the public rooms on the server',
    method: 'GET',
    path,
    auth: 'none',
    rateLimit: 'default',
    query: Type.Object({ limit, since: Type.Optional(Type.String()), server }),
    response: publicRoomsPage,
    errcodes: [...REMOTE_ERRORS, 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    handler({ publicRooms }: Services, { query }) {
      return publicRooms.list(query);
    },
  }),
  endpoint({
    operationId: 'queryPublicRooms',
    summary: 'Lists the public rooms on the server with optional filter',
    method: 'POST',
    onlyAsks: true,
    path,
    auth: 'accessToken',
    guests: { allowed: 'the same list is open without any token by getPublicRooms' },
    suspended: READS,
    rateLimit: 'search',
    query: Type.Object({ server }),
    body: Type.Object({
      limit,
      since: Type.Optional(Type.String()),
      filter: publicRoomsFilter,
      include_all_networks: Type.Optional(Type.Boolean()),
      third_party_instance_id: Type.Optional(Type.String()),
    }),
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.record,
    response: publicRoomsPage,
    errcodes: [...REMOTE_ERRORS, 'M_INVALID_PARAM', 'M_BAD_JSON', 'M_LIMIT_EXCEEDED'],
    handler({ publicRooms }: Services, { query, body }) {
      return publicRooms.list({
        server: query.server,
        limit: body.limit,
        since: body.since,
        searchTerm: body.filter?.generic_search_term ?? undefined,
        roomTypes: body.filter?.room_types ?? undefined,
        thirdPartyInstanceId: body.third_party_instance_id,
        includeAllNetworks: body.include_all_networks,
      });
    },
  }),
  endpoint({
    operationId: 'getRoomVisibilityOnDirectory',
    summary: 'Gets the visibility of a room in the directory',
    method: 'GET',
    path: '/_matrix/client/v3/directory/list/room/{roomId}',
    // The specification asks for no token. It is looked at where there is one: who is in a private room may know of it.
    auth: 'optionalToken',
    guests: { allowed: 'it is open without any token' },
    suspended: READS,
    rateLimit: 'default',
    params: roomParams,
    response: Type.Object({ visibility }),
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ publicRooms }: Services, { requester, params: { roomId } }) {
      return { visibility: (await publicRooms.isListed(roomId, requester?.userId)) ? 'public' : 'private' };
    },
  }),
  endpoint({
    operationId: 'setRoomVisibilityOnDirectory',
    summary: 'Sets the visibility of a room in the room directory',
    method: 'PUT',
    path: '/_matrix/client/v3/directory/list/room/{roomId}',
    auth: 'accessToken',
    guests: 'refused',
    suspended: OTHERS_SEE,
    rateLimit: 'default',
    params: roomParams,
    body: Type.Object({ visibility: Type.Optional(visibility) }),
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    errcodes: ['M_NOT_FOUND', 'M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    async handler({ publicRooms }: Services, { requester, params: { roomId }, body }) {
      await publicRooms.setListed(requester, roomId, body.visibility !== 'private');
      return {};
    },
  }),
];
