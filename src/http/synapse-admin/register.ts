import { Type } from 'typebox';
import type { SharedSecretRegistration } from '#src/services/accounts/registration/shared-secret.ts';
import { endpoint } from '../endpoint.ts';
import { registrationBody } from '../client-server/parts/auth-schemas.ts';

const path = '/_synapse/admin/v1/register';

interface Services {
  readonly sharedSecret: SharedSecretRegistration;
}

export const sharedSecretRegisterEndpoints = [
  endpoint({
    operationId: 'getRegisterNonce',
    summary: 'A nonce for registration with the shared secret.',
    method: 'GET',
    path,
    auth: 'none',
    rateLimit: 'shared_secret_registration',
    response: Type.Object({ nonce: Type.String() }),
    errcodes: ['M_UNKNOWN', 'M_LIMIT_EXCEEDED'],
    handler: ({ sharedSecret }: Services) => ({ nonce: sharedSecret.nonce() }),
  }),
  endpoint({
    operationId: 'registerWithSharedSecret',
    summary: 'Registers an account for a client that knows the shared secret.',
    method: 'POST',
    path,
    auth: 'none',
    rateLimit: 'shared_secret_registration',
    body: Type.Object({
      nonce: Type.String(),
      username: Type.String(),
      password: Type.String(),
      mac: Type.String(),
      admin: Type.Optional(Type.Union([Type.Boolean(), Type.Null()])),
      user_type: Type.Optional(Type.Union([Type.String(), Type.Null()])),
      displayname: Type.Optional(Type.Union([Type.String(), Type.Null()])),
      inhibit_login: Type.Optional(Type.Boolean()),
      refresh_token: Type.Optional(Type.Boolean()),
    }),
    response: Type.Object({
      user_id: Type.String(),
      home_server: Type.Optional(Type.String()),
      access_token: Type.Optional(Type.String()),
      device_id: Type.Optional(Type.String()),
      refresh_token: Type.Optional(Type.String()),
      expires_in_ms: Type.Optional(Type.Integer()),
    }),
    errcodes: ['M_UNKNOWN', 'M_USER_IN_USE', 'M_INVALID_USERNAME', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ sharedSecret }: Services, { body, info }) {
      const registration = await sharedSecret.register({
        nonce: body.nonce,
        username: body.username,
        password: body.password,
        mac: body.mac,
        admin: body.admin ?? false,
        userType: body.user_type ?? undefined,
        displayName: body.displayname ?? undefined,
        inhibitLogin: body.inhibit_login ?? false,
        refreshable: body.refresh_token ?? false,
        ip: info.ip,
      });
      return registrationBody(registration);
    },
  }),
];
