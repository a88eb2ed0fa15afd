import { Type } from 'typebox';
import type { OwnLimit, UserAdministration } from '#src/services/admin/users/user-administration.ts';
import { actorOf } from '../actor.ts';
import { empty } from '../client-server/parts/room-schemas.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';
import { ACCOUNT_ERRORS, userParams } from './parts/users.ts';

const ofUser = '/_synapse/admin/v1/users/{user_id}';
const access = { ...OF_ADMINISTRATORS, params: userParams, errcodes: ACCOUNT_ERRORS };

const limits = Type.Partial(Type.Object({ messages_per_second: Type.Integer(), burst_count: Type.Integer() }));
const limitBody = (limit: OwnLimit | undefined): Record<string, unknown> =>
  limit === undefined ? {} : { messages_per_second: limit.perSecond, burst_count: limit.burst };

interface Services {
  readonly userAdministration: UserAdministration;
}

/** Synapse Admin API, "User Admin API": what administrators do to accounts. */
export const userModerationEndpoints = [
  endpoint({
    operationId: 'adminSetUserAdmin',
    summary: 'Makes a user an administrator of this server, or one no longer.',
    method: 'PUT',
    path: `${ofUser}/admin`,
    ...access,
    body: Type.Object({ admin: Type.Boolean() }),
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    async handler({ userAdministration }: Services, { params: { user_id: userId }, body, requester, info }) {
      await userAdministration.setAdmin(actorOf(requester, info), userId, body.admin);
      return {};
    },
  }),
  endpoint({
    operationId: 'adminDeactivateUser',
    summary: 'Ends an account, and has its user leave all rooms.',
    method: 'POST',
    path: '/_synapse/admin/v1/deactivate/{user_id}',
    ...access,
    memberEvents: ['leave'],
    body: Type.Object({ erase: Type.Optional(Type.Boolean()) }),
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.small,
    response: Type.Object({
      id_server_unbind_result: Type.Union([Type.Literal('success'), Type.Literal('no-support')]),
    }),
    handler: async ({ userAdministration }: Services, { params: { user_id: userId }, body, requester, info }) => ({
      id_server_unbind_result: await userAdministration.deactivate(
        actorOf(requester, info),
        userId,
        body.erase ?? false,
      ),
    }),
  }),
  endpoint({
    operationId: 'adminSuspendUser',
    summary: 'Suspends a user, or lifts that.',
    method: 'PUT',
    path: '/_synapse/admin/v1/suspend/{user_id}',
    ...access,
    body: Type.Object({ suspend: Type.Boolean() }),
    maxBodyBytes: BODY_BYTES.small,
    response: Type.Record(Type.String(), Type.Boolean()),
    async handler({ userAdministration }: Services, { params: { user_id: userId }, body, requester, info }) {
      await userAdministration.suspend(actorOf(requester, info), userId, body.suspend);
      return { [`user_${userId}_suspended`]: body.suspend };
    },
  }),
  endpoint({
    operationId: 'adminShadowBanUser',
    summary: 'Has what a user sends look accepted, and reach nobody.',
    method: 'POST',
    path: `${ofUser}/shadow_ban`,
    ...access,
    response: empty,
    async handler({ userAdministration }: Services, { params: { user_id: userId }, requester, info }) {
      await userAdministration.shadowBan(actorOf(requester, info), userId, true);
      return {};
    },
  }),
  endpoint({
    operationId: 'adminShadowUnbanUser',
    summary: 'Has what a user sends reach others again.',
    method: 'DELETE',
    path: `${ofUser}/shadow_ban`,
    ...access,
    response: empty,
    async handler({ userAdministration }: Services, { params: { user_id: userId }, requester, info }) {
      await userAdministration.shadowBan(actorOf(requester, info), userId, false);
      return {};
    },
  }),
  endpoint({
    operationId: 'adminResetPassword',
    summary: "Sets a user's password.",
    method: 'POST',
    path: '/_synapse/admin/v1/reset_password/{user_id}',
    ...access,
    errcodes: [...ACCOUNT_ERRORS, 'M_INVALID_PARAM'],
    body: Type.Object({ new_password: Type.String(), logout_devices: Type.Optional(Type.Boolean()) }),
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    async handler({ userAdministration }: Services, { params: { user_id: userId }, body, requester, info }) {
      const { new_password: password, logout_devices: logoutDevices = true } = body;
      await userAdministration.resetPassword(actorOf(requester, info), userId, password, logoutDevices);
      return {};
    },
  }),
  endpoint({
    operationId: 'adminLogInAsUser',
    summary: 'An access token with which the administrator acts as a user, who is not shown the session.',
    method: 'POST',
    path: `${ofUser}/login`,
    ...access,
    body: Type.Object({ valid_until_ms: Type.Optional(Type.Integer({ minimum: 0 })) }),
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.small,
    response: Type.Object({ access_token: Type.String() }),
    handler: async ({ userAdministration }: Services, { params: { user_id: userId }, body, requester, info }) => ({
      access_token: await userAdministration.logInAs(actorOf(requester, info), userId, body.valid_until_ms ?? null),
    }),
  }),
  endpoint({
    operationId: 'adminGetRateLimit',
    summary: "A user's own limit for sending; nothing where there is none.",
    method: 'GET',
    path: `${ofUser}/override_ratelimit`,
    ...access,
    response: limits,
    handler: async ({ userAdministration }: Services, { params: { user_id: userId } }) =>
      limitBody(await userAdministration.rateLimit(userId)),
  }),
  endpoint({
    operationId: 'adminSetRateLimit',
    summary: 'Gives a user a limit of their own for sending. With 0 messages per second no rate limit holds them.',
    method: 'POST',
    path: `${ofUser}/override_ratelimit`,
    ...access,
    body: Type.Partial(Type.Object({ messages_per_second: Type.Unknown(), burst_count: Type.Unknown() })),
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.small,
    response: limits,
    async handler({ userAdministration }: Services, { params: { user_id: userId }, body, requester, info }) {
      const limit = { perSecond: body.messages_per_second, burst: body.burst_count };
      return limitBody(await userAdministration.setRateLimit(actorOf(requester, info), userId, limit));
    },
  }),
  endpoint({
    operationId: 'adminDeleteRateLimit',
    summary: 'Has the limits of the configuration hold a user again.',
    method: 'DELETE',
    path: `${ofUser}/override_ratelimit`,
    ...access,
    response: empty,
    async handler({ userAdministration }: Services, { params: { user_id: userId }, requester, info }) {
      await userAdministration.setRateLimit(actorOf(requester, info), userId, undefined);
      return {};
    },
  }),
  endpoint({
    operationId: 'adminAllowKeyReplacement',
    summary: 'Lets a user replace the cross-signing keys without saying the password, for ten minutes.',
    method: 'POST',
    path: `${ofUser}/_allow_cross_signing_replacement_without_uia`,
    ...access,
    response: Type.Object({ updatable_without_uia_before_ms: Type.Integer() }),
    handler: async ({ userAdministration }: Services, { params: { user_id: userId }, requester, info }) => ({
      updatable_without_uia_before_ms: await userAdministration.allowKeyReplacement(actorOf(requester, info), userId),
    }),
  }),
];
