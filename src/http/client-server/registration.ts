import { Type } from 'typebox';
import type { RegistrationService } from '#src/services/accounts/registration/registration-service.ts';
import { endpoint } from '../endpoint.ts';
import { asAuth, authData, challenge, registrationBody } from './parts/auth-schemas.ts';

const loggedIn = Type.Object({
  user_id: Type.String(),
  home_server: Type.Optional(Type.String()),
  access_token: Type.Optional(Type.String()),
  device_id: Type.Optional(Type.String()),
  refresh_token: Type.Optional(Type.String()),
  expires_in_ms: Type.Optional(Type.Integer()),
});

interface Services {
  readonly registration: RegistrationService;
}

export const registrationEndpoints = [
  endpoint({
    operationId: 'register',
    summary: 'Register for an account on this homeserver.',
    method: 'POST',
    path: '/_matrix/client/v3/register',
    auth: 'none',
    rateLimit: 'registration',
    query: Type.Object({ kind: Type.Optional(Type.Union([Type.Literal('user'), Type.Literal('guest')])) }),
    body: Type.Object({
      type: Type.Optional(Type.String({ description: 'What application services say of themselves.' })),
      auth: Type.Optional(authData),
      username: Type.Optional(Type.String()),
      password: Type.Optional(Type.String()),
      device_id: Type.Optional(Type.String()),
      initial_device_display_name: Type.Optional(Type.String()),
      inhibit_login: Type.Optional(Type.Boolean()),
      refresh_token: Type.Optional(Type.Boolean()),
      guest_access_token: Type.Optional(Type.String()),
    }),
    bodyOptional: true,
    response: loggedIn,
    errcodes: [
      'M_USER_IN_USE',
      'M_INVALID_USERNAME',
      'M_EXCLUSIVE',
      'M_FORBIDDEN',
      'M_WEAK_PASSWORD',
      'M_LIMIT_EXCEEDED',
    ],
    answers: challenge,
    async handler({ registration }: Services, { query, body, info }) {
      if (query.kind === 'guest') {
        return registrationBody(await registration.registerGuest(body.initial_device_display_name, info.ip));
      }
      const registered = await registration.register({
        type: body.type,
        username: body.username,
        password: body.password,
        deviceId: body.device_id,
        displayName: body.initial_device_display_name,
        inhibitLogin: body.inhibit_login,
        refreshable: body.refresh_token,
        guestAccessToken: body.guest_access_token,
        auth: asAuth(body.auth),
        ip: info.ip,
      });
      return registrationBody(registered);
    },
  }),
  endpoint({
    operationId: 'checkUsernameAvailability',
    summary: 'Checks to see if a username is available on the server.',
    method: 'GET',
    path: '/_matrix/client/v3/register/available',
    auth: 'none',
    rateLimit: 'registration',
    query: Type.Object({ username: Type.String() }),
    response: Type.Object({ available: Type.Boolean() }),
    errcodes: ['M_USER_IN_USE', 'M_INVALID_USERNAME', 'M_EXCLUSIVE', 'M_LIMIT_EXCEEDED'],
    async handler({ registration }: Services, { query }) {
      await registration.checkAvailable(query.username);
      return { available: true };
    },
  }),
];
