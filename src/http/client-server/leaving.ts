import type { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { empty, reasonBody, roomParams } from './room-schemas.ts';

export const leavingEndpoints = (services: { readonly membership: MembershipService }): readonly Endpoint[] => [
  endpoint({
    operationId: 'leaveRoom',
    summary: 'Stop the requesting user participating in a particular room',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/leave',
    auth: 'accessTokenOrGuest',
    rateLimit: 'default',
    params: roomParams,
    body: reasonBody,
    bodyOptional: true,
    response: empty,
    errors: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params, body }) {
      await services.membership.leave(requester.userId, params.roomId, body.reason);
      return {};
    },
  }),
  endpoint({
    operationId: 'forgetRoom',
    summary: 'Stop the requesting user remembering about a particular room',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/forget',
    auth: 'accessTokenOrGuest',
    rateLimit: 'default',
    params: roomParams,
    response: empty,
    errors: ['M_UNKNOWN', 'M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params }) {
      await services.membership.forget(requester.userId, params.roomId);
      return {};
    },
  }),
];
