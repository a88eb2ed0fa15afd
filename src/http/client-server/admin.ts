import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { DeviceService } from '#src/services/accounts/devices/device-service.ts';
import type { AccountModeration } from '#src/services/accounts/moderation/account-moderation.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';

const params = Type.Object({ userId: Type.String() });
const locked = Type.Object({ locked: Type.Boolean() });
const suspended = Type.Object({ suspended: Type.Boolean() });
const connection = Type.Partial(
  Type.Object({ ip: Type.String(), last_seen: Type.Integer(), user_agent: Type.String() }),
);

export interface AdminServices {
  readonly devices: DeviceService;
  readonly moderation: AccountModeration;
}

/** Client-Server API, "Server Administration". */
export const adminEndpoints = (services: AdminServices): readonly Endpoint[] => [
  endpoint({
    operationId: 'getWhoIs',
    summary: 'Gets information about a particular user.',
    method: 'GET',
    path: '/_matrix/client/v3/admin/whois/{userId}',
    auth: 'accessToken',
    rateLimit: 'default',
    params,
    response: Type.Object({
      user_id: Type.String(),
      devices: Type.Record(
        Type.String(),
        Type.Object({ sessions: Type.Array(Type.Object({ connections: Type.Array(connection) })) }),
      ),
    }),
    errors: ['M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { userId } }) {
      if (requester.userId !== userId && !requester.isAdmin)
        throw new MatrixError('M_FORBIDDEN', 'Only administrators may ask about other users.');
      const devices = userId.includes('\0') ? [] : await services.devices.list(userId);
      const sessions = devices.map(({ deviceId, lastSeenIp, lastSeenTs, lastSeenUserAgent }) => {
        const seen = {
          ...(lastSeenIp === null ? {} : { ip: lastSeenIp }),
          ...(lastSeenTs === null ? {} : { last_seen: lastSeenTs }),
          ...(lastSeenUserAgent === null ? {} : { user_agent: lastSeenUserAgent }),
        };
        return [deviceId, { sessions: [{ connections: lastSeenTs === null ? [] : [seen] }] }];
      });
      return { user_id: userId, devices: Object.fromEntries(sessions) as Record<string, unknown> };
    },
  }),
  endpoint({
    operationId: 'getAdminLockUser',
    summary: 'Gets information about the locked status of a particular user.',
    method: 'GET',
    path: '/_matrix/client/v1/admin/lock/{userId}',
    auth: 'admin',
    rateLimit: 'default',
    params,
    response: locked,
    errors: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { userId } }) {
      return { locked: await services.moderation.is(requester, userId, 'locked') };
    },
  }),
  endpoint({
    operationId: 'setAdminLockUser',
    summary: 'Set the locked status of a particular user.',
    method: 'PUT',
    path: '/_matrix/client/v1/admin/lock/{userId}',
    auth: 'admin',
    rateLimit: 'default',
    params,
    body: locked,
    response: locked,
    errors: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_NOT_FOUND', 'M_BAD_JSON', 'M_MISSING_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { userId }, body }) {
      await services.moderation.set(requester, userId, 'locked', body.locked);
      return { locked: body.locked };
    },
  }),
  endpoint({
    operationId: 'getAdminSuspendUser',
    summary: 'Gets information about the suspended status of a particular user.',
    method: 'GET',
    path: '/_matrix/client/v1/admin/suspend/{userId}',
    auth: 'admin',
    rateLimit: 'default',
    params,
    response: suspended,
    errors: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { userId } }) {
      return { suspended: await services.moderation.is(requester, userId, 'suspended') };
    },
  }),
  endpoint({
    operationId: 'setAdminSuspendUser',
    summary: 'Set the suspended status of a particular user.',
    method: 'PUT',
    path: '/_matrix/client/v1/admin/suspend/{userId}',
    auth: 'admin',
    rateLimit: 'default',
    params,
    body: suspended,
    response: suspended,
    errors: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_NOT_FOUND', 'M_BAD_JSON', 'M_MISSING_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { userId }, body }) {
      await services.moderation.set(requester, userId, 'suspended', body.suspended);
      return { suspended: body.suspended };
    },
  }),
];
