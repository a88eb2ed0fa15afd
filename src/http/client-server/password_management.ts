import { Type } from 'typebox';
import type { AccountService } from '#src/services/accounts/sessions/account-service.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { asAuth, authData, empty } from './auth-schemas.ts';

export const passwordManagementEndpoints = (services: { readonly accounts: AccountService }): readonly Endpoint[] => [
  endpoint({
    operationId: 'changePassword',
    summary: "Changes a user's password.",
    method: 'POST',
    path: '/_matrix/client/v3/account/password',
    auth: 'accessToken',
    rateLimit: 'default',
    body: Type.Object({
      new_password: Type.String(),
      logout_devices: Type.Optional(Type.Boolean()),
      auth: Type.Optional(authData),
    }),
    response: empty,
    errors: ['M_UNAUTHORIZED', 'M_FORBIDDEN', 'M_WEAK_PASSWORD', 'M_LIMIT_EXCEEDED'],
    async handle({ body, requester, info }) {
      await services.accounts.changePassword(requester, {
        newPassword: body.new_password,
        logoutDevices: body.logout_devices ?? true,
        auth: asAuth(body.auth),
        ip: info.ip,
      });
      return {};
    },
  }),
];
