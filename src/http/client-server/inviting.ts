import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import type { ThirdPartyInvites } from '#src/services/rooms/third-party-invites/third-party-invites.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { empty, roomParams } from './parts/room-schemas.ts';
import {
  THIRD_PARTY_INVITE_ERRORS,
  thirdPartyInviteBody,
  thirdPartyInviteRequest,
} from './parts/third-party-invite-body.ts';

/** `user_id`, or a third-party identifier (email, phone number): the specification describes both on one path. */
const body = Type.Object({
  user_id: Type.Optional(Type.String()),
  reason: Type.Optional(Type.String()),
  is_direct: Type.Optional(Type.Boolean()),
  ...thirdPartyInviteBody.properties,
});

interface Services {
  readonly membership: MembershipService;
  readonly thirdPartyInvites: ThirdPartyInvites;
}

export const invitingEndpoints = [
  endpoint({
    operationId: 'inviteUser',
    summary: 'Invite a user to participate in a particular room',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/invite',
    auth: 'accessToken',
    guests: 'refused',
    suspended: 'refused',
    rateLimit: 'invite',
    memberEvents: ['invite'],
    params: roomParams,
    body,
    maxBodyBytes: BODY_BYTES.record,
    response: empty,
    errcodes: ['M_FORBIDDEN', 'M_INVITE_BLOCKED', 'M_INVALID_PARAM', ...THIRD_PARTY_INVITE_ERRORS, 'M_LIMIT_EXCEEDED'],
    async handler({ membership, thirdPartyInvites }: Services, { requester, params, body: request }) {
      if (request.user_id === undefined) {
        if (request.medium === undefined && request.address === undefined)
          throw new MatrixError('M_MISSING_PARAM', 'The body has no user_id.');
        await thirdPartyInvites.invite(requester, params.roomId, thirdPartyInviteRequest(request));
        return {};
      }
      const invite = { target: request.user_id, reason: request.reason, isDirect: request.is_direct };
      await membership.invite(requester, params.roomId, invite);
      return {};
    },
  }),
];
