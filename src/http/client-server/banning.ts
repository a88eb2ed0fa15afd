import type { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { empty, roomParams, targetBody } from './room-schemas.ts';

export const banningEndpoints = (services: { readonly membership: MembershipService }): readonly Endpoint[] => [
  endpoint({
    operationId: 'ban',
    summary: 'Ban a user in the room',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/ban',
    auth: 'accessToken',
    rateLimit: 'default',
    params: roomParams,
    body: targetBody,
    response: empty,
    errors: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params, body }) {
      await services.membership.ban(requester.userId, params.roomId, body.user_id, body.reason);
      return {};
    },
  }),
  endpoint({
    operationId: 'unban',
    summary: 'Unban a user from the room',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/unban',
    auth: 'accessToken',
    rateLimit: 'default',
    params: roomParams,
    body: targetBody,
    response: empty,
    errors: ['M_FORBIDDEN', 'M_BAD_STATE', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params, body }) {
      await services.membership.unban(requester.userId, params.roomId, body.user_id, body.reason);
      return {};
    },
  }),
];
