import type { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import { OTHERS_SEE } from '#src/services/accounts/admission/access-rules.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { empty, roomParams, targetBody } from './parts/room-schemas.ts';

interface Services {
  readonly membership: MembershipService;
}

export const kickingEndpoints = [
  endpoint({
    operationId: 'kick',
    summary: 'Kick a user from the room',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/kick',
    auth: 'accessToken',
    guests: 'refused',
    suspended: OTHERS_SEE,
    rateLimit: 'message',
    memberEvents: ['kick'],
    params: roomParams,
    body: targetBody,
    maxBodyBytes: BODY_BYTES.record,
    response: empty,
    errcodes: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ membership }: Services, { requester, params, body }) {
      await membership.kick(requester, params.roomId, body.user_id, body.reason);
      return {};
    },
  }),
];
