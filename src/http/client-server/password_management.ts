import { Type } from 'typebox';
import type { AccountService } from '#src/services/accounts/sessions/account-service.ts';
import { endpoint } from '../endpoint.ts';
import { asAuth, authData, challenge, empty } from './parts/auth-schemas.ts';

interface Services {
  readonly accounts: AccountService;
}

export const passwordManagementEndpoints = [
  endpoint({
    operationId: 'changePassword',
    summary: "Changes a user's password.",
    method: 'POST',
    path: '/_matrix/client/v3/account/password',
    auth: 'accessToken',
    guests: 'refused',
    suspended: { allowed: 'whoever is suspended has to be able to keep others out of the account' },
    rateLimit: 'default',
    body: Type.Object({
      new_password: Type.String(),
      logout_devices: Type.Optional(Type.Boolean()),
      auth: Type.Optional(authData),
    }),
    response: empty,
    errcodes: ['M_FORBIDDEN', 'M_WEAK_PASSWORD', 'M_LIMIT_EXCEEDED'],
    answers: challenge,
    async handler({ accounts }: Services, { body, requester, info }) {
      await accounts.changePassword(requester, {
        newPassword: body.new_password,
        logoutDevices: body.logout_devices ?? true,
        auth: asAuth(body.auth),
        ip: info.ip,
      });
      return {};
    },
  }),
];
