import { Type } from 'typebox';
import type { PublicRoomsAnswers } from '#src/services/federation/queries/public-rooms-answers.ts';
import { publicRoomsFilter, publicRoomsPage } from '../client-server/parts/room-schemas.ts';
import { endpoint } from '../endpoint.ts';

const path = '/_matrix/federation/v1/publicRooms';

const asked = {
  limit: Type.Optional(Type.Integer({ minimum: 0 })),
  since: Type.Optional(Type.String()),
  include_all_networks: Type.Optional(Type.Boolean()),
  third_party_instance_id: Type.Optional(Type.String()),
};

interface Services {
  readonly publicRoomsAnswers: PublicRoomsAnswers;
}

/** Server-Server API, "Published Room Directory". */
export const federationPublicRoomsEndpoints = [
  endpoint({
    operationId: 'getPublicRooms',
    summary: "Lists the server's published room directory",
    method: 'GET',
    path,
    auth: 'server',
    rateLimit: 'federation',
    query: Type.Object(asked),
    response: publicRoomsPage,
    errcodes: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    handler({ publicRoomsAnswers }: Services, { query }) {
      return publicRoomsAnswers.list({
        limit: query.limit,
        since: query.since,
        includeAllNetworks: query.include_all_networks,
        thirdPartyInstanceId: query.third_party_instance_id,
      });
    },
  }),
  endpoint({
    operationId: 'queryPublicRooms',
    summary: "Lists the server's published room directory with an optional filter",
    method: 'POST',
    onlyAsks: true,
    path,
    auth: 'server',
    rateLimit: 'federation',
    body: Type.Object({ ...asked, filter: publicRoomsFilter }),
    bodyOptional: true,
    response: publicRoomsPage,
    errcodes: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_BAD_JSON', 'M_LIMIT_EXCEEDED'],
    handler({ publicRoomsAnswers }: Services, { body }) {
      return publicRoomsAnswers.list({
        limit: body.limit,
        since: body.since,
        searchTerm: body.filter?.generic_search_term ?? undefined,
        roomTypes: body.filter?.room_types ?? undefined,
        includeAllNetworks: body.include_all_networks,
        thirdPartyInstanceId: body.third_party_instance_id,
      });
    },
  }),
];
