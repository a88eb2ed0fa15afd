import { Type } from 'typebox';
import { ADMINISTERS, READS } from '#src/services/accounts/admission/access-rules.ts';
import type { UserAdministration } from '#src/services/admin/users/user-administration.ts';
import type { AccountModeration } from '#src/services/accounts/moderation/account-moderation.ts';
import { actorOf } from '../actor.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';

const params = Type.Object({ userId: Type.String() });
const locked = Type.Object({ locked: Type.Boolean() });
const suspended = Type.Object({ suspended: Type.Boolean() });
const connection = Type.Partial(
  Type.Object({ ip: Type.String(), last_seen: Type.Integer(), user_agent: Type.String() }),
);

interface Services {
  readonly userAdministration: UserAdministration;
  readonly moderation: AccountModeration;
}

/** Client-Server API, "Server Administration". */
export const adminEndpoints = [
  endpoint({
    operationId: 'getWhoIs',
    summary: 'Gets information about a particular user.',
    method: 'GET',
    path: '/_matrix/client/v3/admin/whois/{userId}',
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    params,
    response: Type.Object({
      user_id: Type.String(),
      devices: Type.Record(
        Type.String(),
        Type.Object({ sessions: Type.Array(Type.Object({ connections: Type.Array(connection) })) }),
      ),
    }),
    errcodes: ['M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    async handler({ userAdministration }: Services, { requester, params: { userId }, info }) {
      const found = await userAdministration.whoIs(requester, actorOf(requester, info), userId);
      const sessions = found.map(({ deviceId, lastSeenIp, lastSeenTs, lastSeenUserAgent }) => {
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
    guests: 'refused',
    suspended: ADMINISTERS,
    rateLimit: 'default',
    params,
    response: locked,
    errcodes: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ moderation }: Services, { requester, params: { userId } }) {
      return { locked: await moderation.is(requester, userId, 'locked') };
    },
  }),
  endpoint({
    operationId: 'setAdminLockUser',
    summary: 'Set the locked status of a particular user.',
    method: 'PUT',
    path: '/_matrix/client/v1/admin/lock/{userId}',
    auth: 'admin',
    guests: 'refused',
    suspended: ADMINISTERS,
    rateLimit: 'default',
    params,
    body: locked,
    maxBodyBytes: BODY_BYTES.small,
    response: locked,
    errcodes: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_NOT_FOUND', 'M_BAD_JSON', 'M_MISSING_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ moderation }: Services, { requester, params: { userId }, body, info }) {
      const admin = { admin: requester, actor: actorOf(requester, info) };
      await moderation.set(admin, userId, 'locked', body.locked);
      return { locked: body.locked };
    },
  }),
  endpoint({
    operationId: 'getAdminSuspendUser',
    summary: 'Gets information about the suspended status of a particular user.',
    method: 'GET',
    path: '/_matrix/client/v1/admin/suspend/{userId}',
    auth: 'admin',
    guests: 'refused',
    suspended: ADMINISTERS,
    rateLimit: 'default',
    params,
    response: suspended,
    errcodes: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ moderation }: Services, { requester, params: { userId } }) {
      return { suspended: await moderation.is(requester, userId, 'suspended') };
    },
  }),
  endpoint({
    operationId: 'setAdminSuspendUser',
    summary: 'Set the suspended status of a particular user.',
    method: 'PUT',
    path: '/_matrix/client/v1/admin/suspend/{userId}',
    auth: 'admin',
    guests: 'refused',
    suspended: ADMINISTERS,
    rateLimit: 'default',
    params,
    body: suspended,
    maxBodyBytes: BODY_BYTES.small,
    response: suspended,
    errcodes: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_NOT_FOUND', 'M_BAD_JSON', 'M_MISSING_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ moderation }: Services, { requester, params: { userId }, body, info }) {
      const admin = { admin: requester, actor: actorOf(requester, info) };
      await moderation.set(admin, userId, 'suspended', body.suspended);
      return { suspended: body.suspended };
    },
  }),
];
