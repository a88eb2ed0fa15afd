import type { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { empty, roomParams, targetBody } from './room-schemas.ts';

export const kickingEndpoints = (services: { readonly membership: MembershipService }): readonly Endpoint[] => [
  endpoint({
    operationId: 'kick',
    summary: 'Kick a user from the room',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/kick',
    auth: 'accessToken',
    rateLimit: 'default',
    params: roomParams,
    body: targetBody,
    response: empty,
    errors: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params, body }) {
      await services.membership.kick(requester.userId, params.roomId, body.user_id, body.reason);
      return {};
    },
  }),
];
