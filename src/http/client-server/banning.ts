import type { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import { OTHERS_SEE } from '#src/services/accounts/admission/access-rules.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { empty, roomParams, targetBody } from './parts/room-schemas.ts';

interface Services {
  readonly membership: MembershipService;
}

export const banningEndpoints = [
  endpoint({
    operationId: 'ban',
    summary: 'Ban a user in the room',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/ban',
    auth: 'accessToken',
    guests: 'refused',
    suspended: OTHERS_SEE,
    rateLimit: 'message',
    memberEvents: ['ban'],
    params: roomParams,
    body: targetBody,
    maxBodyBytes: BODY_BYTES.record,
    response: empty,
    errcodes: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ membership }: Services, { requester, params, body }) {
      await membership.ban(requester, params.roomId, body.user_id, body.reason);
      return {};
    },
  }),
  endpoint({
    operationId: 'unban',
    summary: 'Unban a user from the room',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/unban',
    auth: 'accessToken',
    guests: 'refused',
    suspended: OTHERS_SEE,
    rateLimit: 'message',
    memberEvents: ['unban'],
    params: roomParams,
    body: targetBody,
    maxBodyBytes: BODY_BYTES.record,
    response: empty,
    errcodes: ['M_FORBIDDEN', 'M_BAD_STATE', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ membership }: Services, { requester, params, body }) {
      await membership.unban(requester, params.roomId, body.user_id, body.reason);
      return {};
    },
  }),
];
