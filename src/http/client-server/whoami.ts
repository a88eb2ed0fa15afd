import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import { endpoint } from '../endpoint.ts';

export const whoamiEndpoints = [
  endpoint({
    operationId: 'getTokenOwner',
    summary: 'Gets information about the owner of an access token.',
    method: 'GET',
    path: '/_matrix/client/v3/account/whoami',
    auth: 'accessToken',
    guests: 'allowed',
    suspended: READS,
    rateLimit: 'default',
    response: Type.Object({
      user_id: Type.String(),
      device_id: Type.Optional(Type.String()),
      is_guest: Type.Optional(Type.Boolean()),
    }),
    errcodes: ['M_UNKNOWN_TOKEN', 'M_MISSING_TOKEN', 'M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    handler: (_, { requester: { userId, deviceId, isGuest } }) =>
      Promise.resolve({
        user_id: userId,
        ...(deviceId === undefined ? {} : { device_id: deviceId }),
        is_guest: isGuest,
      }),
  }),
];
