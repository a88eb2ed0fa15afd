import { Type } from 'typebox';
import type { OwnAddresses } from '#src/services/accounts/contact/own-addresses.ts';
import type { AccountService } from '#src/services/accounts/sessions/account-service.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { asAuth, authData, challenge } from './parts/auth-schemas.ts';

interface Services {
  readonly accounts: AccountService;
  readonly ownAddresses: OwnAddresses;
}

export const accountDeactivationEndpoints = [
  endpoint({
    operationId: 'deactivateAccount',
    summary: "Deactivate a user's account.",
    method: 'POST',
    path: '/_matrix/client/v3/account/deactivate',
    auth: 'accessToken',
    guests: 'refused',
    suspended: 'allowed',
    rateLimit: 'default',
    memberEvents: ['leave'],
    body: Type.Object({
      auth: Type.Optional(authData),
      id_server: Type.Optional(Type.String()),
      erase: Type.Optional(Type.Boolean()),
    }),
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.small,
    response: Type.Object({
      id_server_unbind_result: Type.Union([Type.Literal('success'), Type.Literal('no-support')]),
    }),
    errcodes: ['M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    answers: challenge,
    async handler({ accounts, ownAddresses }: Services, { body, requester, info }) {
      await accounts.deactivateOwn(requester, {
        erase: body.erase ?? false,
        auth: asAuth(body.auth),
        ip: info.ip,
      });
      return { id_server_unbind_result: await ownAddresses.unbindAll(requester.userId) };
    },
  }),
];
