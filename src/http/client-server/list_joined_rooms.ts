import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import { endpoint } from '../endpoint.ts';

interface Services {
  readonly membership: MembershipService;
}

export const listJoinedRoomsEndpoints = [
  endpoint({
    operationId: 'getJoinedRooms',
    summary: "Lists the user's current rooms",
    method: 'GET',
    path: '/_matrix/client/v3/joined_rooms',
    auth: 'accessToken',
    guests: { refused: 'sync returns the same rooms' },
    suspended: READS,
    rateLimit: 'default',
    response: Type.Object({ joined_rooms: Type.Array(Type.String()) }),
    errcodes: ['M_LIMIT_EXCEEDED'],
    async handler({ membership }: Services, { requester }) {
      return { joined_rooms: await membership.joinedRooms(requester.userId) };
    },
  }),
];
