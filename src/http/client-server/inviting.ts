import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { MembershipService } from '#src/services/membership/membership-service.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { empty, roomParams } from './room-schemas.ts';

/** `user_id`, or what names a person by mail or phone: the specification describes both on one path. */
const body = Type.Object({
  user_id: Type.Optional(Type.String()),
  reason: Type.Optional(Type.String()),
  is_direct: Type.Optional(Type.Boolean()),
  id_server: Type.Optional(Type.String()),
  id_access_token: Type.Optional(Type.String()),
  medium: Type.Optional(Type.String()),
  address: Type.Optional(Type.String()),
});

export const invitingEndpoints = (services: { readonly membership: MembershipService }): readonly Endpoint[] => [
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
    errors: [
      'M_FORBIDDEN',
      'M_INVITE_BLOCKED',
      'M_INVALID_PARAM',
      'M_MISSING_PARAM',
      'M_SERVER_NOT_TRUSTED',
      'M_LIMIT_EXCEEDED',
    ],
    async handle({ requester, params, body: wish }) {
      const { medium, address, id_server: server, id_access_token: token } = wish;
      if (wish.user_id === undefined) {
        if (medium === undefined && address === undefined)
          throw new MatrixError('M_MISSING_PARAM', 'The member user_id is missing from the body.');
        if (medium === undefined || address === undefined || server === undefined || token === undefined)
          throw new MatrixError('M_MISSING_PARAM', 'An invite needs id_server, id_access_token, medium and address.');
        return services.membership.inviteByThirdPartyId(requester.userId, params.roomId);
      }
      const invite = { target: wish.user_id, reason: wish.reason, isDirect: wish.is_direct };
      await services.membership.invite(requester.userId, params.roomId, invite);
      return {};
    },
  }),
];
