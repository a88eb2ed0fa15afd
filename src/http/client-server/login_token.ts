import { Type } from 'typebox';
import { ACCOUNT_MANAGEMENT } from '#src/services/accounts/admission/access-rules.ts';
import type { LoginTokens } from '#src/services/accounts/sessions/login-tokens.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { asAuth, authData, challenge } from './parts/auth-schemas.ts';

interface Services {
  readonly loginTokens: LoginTokens;
}

export const loginTokenEndpoints = [
  endpoint({
    operationId: 'generateLoginToken',
    summary: 'Generate a single-use, time-limited, m.login.token token.',
    method: 'POST',
    path: '/_matrix/client/v1/login/get_token',
    auth: 'accessToken',
    guests: 'refused',
    suspended: 'allowed',
    appservices: ACCOUNT_MANAGEMENT,
    rateLimit: 'login',
    body: Type.Object({ auth: Type.Optional(authData) }),
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.small,
    response: Type.Object({ login_token: Type.String(), expires_in_ms: Type.Integer() }),
    errcodes: ['M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    answers: challenge,
    async handler({ loginTokens }: Services, { requester, body, info }) {
      const { token, expiresInMs } = await loginTokens.issue(requester, asAuth(body.auth), info.ip);
      return { login_token: token, expires_in_ms: expiresInMs };
    },
  }),
];
