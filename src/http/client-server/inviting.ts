import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import type { ThirdPartyInvites } from '#src/services/rooms/third-party-invites/third-party-invites.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { empty, roomParams } from './room-schemas.ts';
import { THIRD_PARTY_INVITE_ERRORS, thirdPartyInviteBody, thirdPartyInviteRequest } from './third-party-invite-body.ts';

/** `user_id`, or what names a person by mail or phone: the specification describes both on one path. */
const body = Type.Object({
  user_id: Type.Optional(Type.String()),
  reason: Type.Optional(Type.String()),
  is_direct: Type.Optional(Type.Boolean()),
  ...thirdPartyInviteBody.properties,
});

export const invitingEndpoints = (services: {
  readonly membership: MembershipService;
  readonly thirdPartyInvites: ThirdPartyInvites;
}): readonly Endpoint[] => [
  endpoint({
    operationId: 'inviteUser',
    summary: 'Invite a user to participate in a particular room',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/invite',
    auth: 'accessToken',
    rateLimit: 'invite',
    params: roomParams,
    body,
    response: empty,
    errors: ['M_FORBIDDEN', 'M_INVITE_BLOCKED', 'M_INVALID_PARAM', ...THIRD_PARTY_INVITE_ERRORS, 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params, body: wish }) {
      if (wish.user_id === undefined) {
        if (wish.medium === undefined && wish.address === undefined)
          throw new MatrixError('M_MISSING_PARAM', 'The member user_id is missing from the body.');
        await services.thirdPartyInvites.invite(requester, params.roomId, thirdPartyInviteRequest(wish));
        return {};
      }
      const invite = { target: wish.user_id, reason: wish.reason, isDirect: wish.is_direct };
      await services.membership.invite(requester.userId, params.roomId, invite);
      return {};
    },
  }),
];
