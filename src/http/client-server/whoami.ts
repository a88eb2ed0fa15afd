import { Type } from 'typebox';
import { type Endpoint, endpoint } from '../endpoint.ts';

export const whoamiEndpoints = (): readonly Endpoint[] => [
  endpoint({
    operationId: 'getTokenOwner',
    summary: 'Gets information about the owner of an access token.',
    method: 'GET',
    path: '/_matrix/client/v3/account/whoami',
    auth: 'accessTokenOrGuest',
    rateLimit: 'default',
    response: Type.Object({
      user_id: Type.String(),
      device_id: Type.Optional(Type.String()),
      is_guest: Type.Optional(Type.Boolean()),
    }),
    errors: ['M_UNKNOWN_TOKEN', 'M_MISSING_TOKEN', 'M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    handle: ({ requester: { userId, deviceId, isGuest } }) =>
      Promise.resolve({
        user_id: userId,
        ...(deviceId === undefined ? {} : { device_id: deviceId }),
        is_guest: isGuest,
      }),
  }),
];
