import { Type } from 'typebox';
import type { LoginTokens } from '#src/services/accounts/sessions/login-tokens.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { asAuth, authData } from './auth-schemas.ts';

export const loginTokenEndpoints = (services: { readonly loginTokens: LoginTokens }): readonly Endpoint[] => [
  endpoint({
    operationId: 'generateLoginToken',
    summary: 'Generate a single-use, time-limited, m.login.token token.',
    method: 'POST',
    path: '/_matrix/client/v1/login/get_token',
    auth: 'accessToken',
    rateLimit: 'login',
    body: Type.Object({ auth: Type.Optional(authData) }),
    bodyOptional: true,
    response: Type.Object({ login_token: Type.String(), expires_in_ms: Type.Integer() }),
    errors: ['M_UNAUTHORIZED', 'M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, body, info }) {
      const { token, expiresInMs } = await services.loginTokens.issue(requester, asAuth(body.auth), info.ip);
      return { login_token: token, expires_in_ms: expiresInMs };
    },
  }),
];
