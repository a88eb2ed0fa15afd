import { Type } from 'typebox';
import type { SharedSecretRegistration } from '#src/services/accounts/registration/shared-secret.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { registrationBody } from '../client-server/registration.ts';

const path = '/_synapse/admin/v1/register';

export const sharedSecretRegisterEndpoints = (services: {
  readonly sharedSecret: SharedSecretRegistration;
}): readonly Endpoint[] => [
  endpoint({
    operationId: 'getRegisterNonce',
    summary: 'A nonce for registration with the shared secret.',
    method: 'GET',
    path,
    auth: 'none',
    rateLimit: 'registration',
    response: Type.Object({ nonce: Type.String() }),
    errors: ['M_UNKNOWN', 'M_LIMIT_EXCEEDED'],
    handle: () => Promise.resolve().then(() => ({ nonce: services.sharedSecret.nonce() })),
  }),
  endpoint({
    operationId: 'registerWithSharedSecret',
    summary: 'Registers an account for whoever knows the shared secret.',
    method: 'POST',
    path,
    auth: 'none',
    rateLimit: 'registration',
    body: Type.Object({
      nonce: Type.String(),
      username: Type.String(),
      password: Type.String(),
      mac: Type.String(),
      admin: Type.Optional(Type.Union([Type.Boolean(), Type.Null()])),
      user_type: Type.Optional(Type.Union([Type.String(), Type.Null()])),
      displayname: Type.Optional(Type.Union([Type.String(), Type.Null()])),
      inhibit_login: Type.Optional(Type.Boolean()),
    }),
    response: Type.Object({
      user_id: Type.String(),
      home_server: Type.Optional(Type.String()),
      access_token: Type.Optional(Type.String()),
      device_id: Type.Optional(Type.String()),
    }),
    errors: ['M_UNKNOWN', 'M_USER_IN_USE', 'M_INVALID_USERNAME', 'M_WEAK_PASSWORD', 'M_LIMIT_EXCEEDED'],
    async handle({ body }) {
      const registration = await services.sharedSecret.register({
        nonce: body.nonce,
        username: body.username,
        password: body.password,
        mac: body.mac,
        admin: body.admin ?? false,
        userType: body.user_type ?? undefined,
        displayName: body.displayname ?? undefined,
        inhibitLogin: body.inhibit_login ?? false,
      });
      return registrationBody(registration);
    },
  }),
];
