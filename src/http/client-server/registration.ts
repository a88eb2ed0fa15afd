import { Type } from 'typebox';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { Registration, RegistrationService } from '#src/services/accounts/registration/registration-service.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { asAuth, authData, sessionMembers } from './auth-schemas.ts';

const loggedIn = Type.Object({
  user_id: Type.String(),
  home_server: Type.Optional(Type.String()),
  access_token: Type.Optional(Type.String()),
  device_id: Type.Optional(Type.String()),
  refresh_token: Type.Optional(Type.String()),
  expires_in_ms: Type.Optional(Type.Integer()),
});

/** The body of a successful registration. */
export const registrationBody = ({ userId, session }: Registration): Record<string, unknown> => ({
  user_id: userId,
  home_server: domainOf(userId),
  ...sessionMembers(session),
});

export const registrationEndpoints = (services: {
  readonly registration: RegistrationService;
}): readonly Endpoint[] => [
  endpoint({
    operationId: 'register',
    summary: 'Register for an account on this homeserver.',
    method: 'POST',
    path: '/_matrix/client/v3/register',
    auth: 'none',
    rateLimit: 'registration',
    query: Type.Object({ kind: Type.Optional(Type.Union([Type.Literal('user'), Type.Literal('guest')])) }),
    body: Type.Object({
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
    errors: [
      'M_USER_IN_USE',
      'M_INVALID_USERNAME',
      'M_EXCLUSIVE',
      'M_FORBIDDEN',
      'M_WEAK_PASSWORD',
      'M_UNAUTHORIZED',
      'M_LIMIT_EXCEEDED',
    ],
    async handle({ query, body, info }) {
      if (query.kind === 'guest') {
        return registrationBody(await services.registration.registerGuest(body.initial_device_display_name));
      }
      const registration = await services.registration.register({
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
      return registrationBody(registration);
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
    errors: ['M_USER_IN_USE', 'M_INVALID_USERNAME', 'M_EXCLUSIVE', 'M_LIMIT_EXCEEDED'],
    async handle({ query }) {
      await services.registration.checkAvailable(query.username);
      return { available: true };
    },
  }),
];
