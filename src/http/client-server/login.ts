import { type Static, Type } from 'typebox';
import type { LoginService } from '#src/services/accounts/sessions/login-service.ts';
import type { AppserviceTokens } from '#src/services/accounts/sessions/appservice-tokens.ts';
import { endpoint, type RequestInfo } from '../endpoint.ts';
import { sessionMembers } from './parts/auth-schemas.ts';

const loginBody = Type.Object({
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
});

const requestOf = (body: Static<typeof loginBody>, { acceptLanguage, ip, userAgent }: RequestInfo) => ({
  identifier: body.identifier,
  user: body.user,
  medium: body.medium,
  address: body.address,
  password: body.password,
  token: body.token,
  deviceId: body.device_id,
  displayName: body.initial_device_display_name,
  refreshable: body.refresh_token,
  ip,
  userAgent,
  acceptLanguage,
});

interface Services {
  readonly login: LoginService;
  readonly appserviceTokens: AppserviceTokens;
  readonly serverName: string;
  /** Told to clients as `well_known`; undefined leaves them with the URL they used. */
  readonly publicBaseUrl: () => string | undefined;
}

export const loginEndpoints = [
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
    errcodes: ['M_LIMIT_EXCEEDED'],
    handler: ({ login }: Pick<Services, 'login'>) => Promise.resolve({ flows: login.flows() }),
  }),
  endpoint({
    operationId: 'login',
    summary: 'Authenticates the user.',
    method: 'POST',
    path: '/_matrix/client/v3/login',
    auth: 'none',
    // Attempts are counted where it is known how they end.
    rateLimit: 'default',
    body: loginBody,
    response: Type.Object({
      user_id: Type.String(),
      access_token: Type.String(),
      device_id: Type.String(),
      refresh_token: Type.Optional(Type.String()),
      expires_in_ms: Type.Optional(Type.Integer()),
      home_server: Type.Optional(Type.String()),
      well_known: Type.Optional(Type.Object({ 'm.homeserver': Type.Object({ base_url: Type.String() }) })),
    }),
    errcodes: [
      'M_FORBIDDEN',
      'M_EXCLUSIVE',
      'M_MISSING_TOKEN',
      'M_UNKNOWN_TOKEN',
      'M_USER_DEACTIVATED',
      'M_USER_LOCKED',
      'M_UNKNOWN',
      'M_INVALID_PARAM',
      'M_LIMIT_EXCEEDED',
    ],
    async handler({ appserviceTokens, login, publicBaseUrl, serverName }: Services, { body, info }) {
      const request = requestOf(body, info);
      const session =
        body.type === 'm.login.application_service'
          ? await login.loginByAppservice(await appserviceTokens.serviceOf(info.accessToken), request)
          : await login.login({ type: body.type, ...request });
      const baseUrl = publicBaseUrl();
      const wellKnown = baseUrl === undefined ? {} : { well_known: { 'm.homeserver': { base_url: baseUrl } } };
      return { user_id: session.userId, home_server: serverName, ...sessionMembers(session), ...wellKnown };
    },
  }),
];
