import { Type } from 'typebox';
import type { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';

export const listJoinedRoomsEndpoints = (services: { readonly membership: MembershipService }): readonly Endpoint[] => [
  endpoint({
    operationId: 'getJoinedRooms',
    summary: "Lists the user's current rooms",
    method: 'GET',
    path: '/_matrix/client/v3/joined_rooms',
    auth: 'accessToken',
    rateLimit: 'default',
    response: Type.Object({ joined_rooms: Type.Array(Type.String()) }),
    errors: ['M_LIMIT_EXCEEDED'],
    async handle({ requester }) {
      return { joined_rooms: await services.membership.joinedRooms(requester.userId) };
    },
  }),
];
