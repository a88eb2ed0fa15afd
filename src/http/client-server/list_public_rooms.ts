import { Type } from 'typebox';
import { READS } from '#src/services/accounts/sessions/access-rules.ts';
import type { PublicRooms } from '#src/services/rooms/directory/public-rooms.ts';
import { endpoint } from '../endpoint.ts';
import { publicRoom } from './parts/room-schemas.ts';

const path = '/_matrix/client/v3/publicRooms';

const response = Type.Object({
  chunk: Type.Array(Type.Object(publicRoom)),
  next_batch: Type.Optional(Type.String()),
  prev_batch: Type.Optional(Type.String()),
  total_room_count_estimate: Type.Integer(),
});

const limit = Type.Optional(Type.Integer({ minimum: 0 }));
const server = Type.Optional(Type.String());

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
    response,
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    handler({ publicRooms }: Services, { query }) {
      return publicRooms.list(query);
    },
  }),
  endpoint({
    operationId: 'queryPublicRooms',
    summary: 'Lists the public rooms on the server with optional filter',
    method: 'POST',
    path,
    auth: 'accessToken',
    guests: { allowed: 'the same list is open without any token by getPublicRooms' },
    suspended: READS,
    rateLimit: 'search',
    query: Type.Object({ server }),
    body: Type.Object({
      limit,
      since: Type.Optional(Type.String()),
      filter: Type.Optional(
        Type.Object({
          generic_search_term: Type.Optional(Type.Union([Type.String(), Type.Null()])),
          room_types: Type.Optional(Type.Union([Type.Array(Type.Union([Type.String(), Type.Null()])), Type.Null()])),
        }),
      ),
      include_all_networks: Type.Optional(Type.Boolean()),
      third_party_instance_id: Type.Optional(Type.String()),
    }),
    bodyOptional: true,
    response,
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_BAD_JSON', 'M_LIMIT_EXCEEDED'],
    handler({ publicRooms }: Services, { query, body }) {
      return publicRooms.list({
        server: query.server,
        limit: body.limit,
        since: body.since,
        searchTerm: body.filter?.generic_search_term ?? undefined,
        roomTypes: body.filter?.room_types ?? undefined,
        thirdPartyInstanceId: body.third_party_instance_id,
      });
    },
  }),
];
