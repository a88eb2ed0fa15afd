import { Type } from 'typebox';
import type { SessionService } from '#src/services/accounts/sessions/session-service.ts';
import { endpoint } from '../endpoint.ts';

interface Services {
  readonly sessions: SessionService;
}

export const refreshEndpoints = [
  endpoint({
    operationId: 'refresh',
    summary: 'Refresh an access token.',
    method: 'POST',
    path: '/_matrix/client/v3/refresh',
    auth: 'none',
    rateLimit: 'default',
    body: Type.Object({ refresh_token: Type.String() }),
    response: Type.Object({
      access_token: Type.String(),
      refresh_token: Type.Optional(Type.String()),
      expires_in_ms: Type.Optional(Type.Integer()),
    }),
    errcodes: ['M_UNKNOWN_TOKEN', 'M_USER_LOCKED', 'M_LIMIT_EXCEEDED'],
    async handler({ sessions }: Services, { body }) {
      const tokens = await sessions.refresh(body.refresh_token);
      return {
        access_token: tokens.accessToken,
        refresh_token: tokens.refreshToken,
        expires_in_ms: tokens.expiresInMs,
      };
    },
  }),
];
