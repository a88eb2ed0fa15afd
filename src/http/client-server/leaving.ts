import type { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import { KEEPS_OWN } from '#src/services/accounts/admission/access-rules.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { empty, reasonBody, roomParams } from './parts/room-schemas.ts';

interface Services {
  readonly membership: MembershipService;
}

export const leavingEndpoints = [
  endpoint({
    operationId: 'leaveRoom',
    summary: 'Stop the requesting user participating in a particular room',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/leave',
    auth: 'accessToken',
    guests: 'allowed',
    suspended: 'allowed',
    rateLimit: 'default',
    memberEvents: ['leave'],
    params: roomParams,
    body: reasonBody,
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.record,
    response: empty,
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ membership }: Services, { requester, params, body }) {
      await membership.leave(requester.userId, params.roomId, body.reason);
      return {};
    },
  }),
  endpoint({
    operationId: 'forgetRoom',
    summary: 'Stop the requesting user remembering about a particular room',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/forget',
    auth: 'accessToken',
    guests: { allowed: 'the other half of leaving: it hides what was left from their own account' },
    suspended: KEEPS_OWN,
    rateLimit: 'default',
    params: roomParams,
    response: empty,
    errcodes: ['M_UNKNOWN', 'M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ membership }: Services, { requester, params }) {
      await membership.forget(requester.userId, params.roomId);
      return {};
    },
  }),
];
