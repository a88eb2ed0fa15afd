import { Type } from 'typebox';
import type { LoginService } from '#src/services/accounts/sessions/login-service.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { sessionMembers } from './auth-schemas.ts';

export interface LoginEndpointsOptions {
  readonly login: LoginService;
  readonly serverName: string;
  /** Told to clients as `well_known`; undefined leaves them with the URL they used. */
  readonly publicBaseUrl: () => string | undefined;
}

export const loginEndpoints = (options: LoginEndpointsOptions): readonly Endpoint[] => [
  endpoint({
    operationId: 'getLoginFlows',
    summary: 'Get the supported login types to authenticate users.',
    method: 'GET',
    path: '/_matrix/client/v3/login',
    auth: 'none',
    rateLimit: 'default',
    response: Type.Object({
      flows: Type.Array(Type.Object({ type: Type.String(), get_login_token: Type.Optional(Type.Boolean()) })),
    }),
    errors: ['M_LIMIT_EXCEEDED'],
    handle: () => Promise.resolve({ flows: options.login.flows() }),
  }),
  endpoint({
    operationId: 'login',
    summary: 'Authenticates the user.',
    method: 'POST',
    path: '/_matrix/client/v3/login',
    auth: 'none',
    rateLimit: 'login',
    body: Type.Object({
      type: Type.String(),
      identifier: Type.Optional(
        Type.Object(
          { type: Type.Optional(Type.String()), user: Type.Optional(Type.String()) },
          { additionalProperties: true },
        ),
      ),
      user: Type.Optional(Type.String()),
      medium: Type.Optional(Type.String()),
      address: Type.Optional(Type.String()),
      password: Type.Optional(Type.String()),
      token: Type.Optional(Type.String()),
      device_id: Type.Optional(Type.String()),
      initial_device_display_name: Type.Optional(Type.String()),
      refresh_token: Type.Optional(Type.Boolean()),
    }),
    response: Type.Object({
      user_id: Type.String(),
      access_token: Type.String(),
      device_id: Type.String(),
      refresh_token: Type.Optional(Type.String()),
      expires_in_ms: Type.Optional(Type.Integer()),
      home_server: Type.Optional(Type.String()),
      well_known: Type.Optional(Type.Object({ 'm.homeserver': Type.Object({ base_url: Type.String() }) })),
    }),
    errors: ['M_FORBIDDEN', 'M_USER_DEACTIVATED', 'M_USER_LOCKED', 'M_UNKNOWN', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ body }) {
      const session = await options.login.login({
        type: body.type,
        identifier: body.identifier,
        user: body.user,
        medium: body.medium,
        password: body.password,
        token: body.token,
        deviceId: body.device_id,
        displayName: body.initial_device_display_name,
        refreshable: body.refresh_token,
      });
      const publicBaseUrl = options.publicBaseUrl();
      const wellKnown =
        publicBaseUrl === undefined ? {} : { well_known: { 'm.homeserver': { base_url: publicBaseUrl } } };
      return { user_id: session.userId, home_server: options.serverName, ...sessionMembers(session), ...wellKnown };
    },
  }),
];
