import type { SessionService } from '#src/services/accounts/sessions/session-service.ts';
import { endpoint } from '../endpoint.ts';
import { empty } from './parts/auth-schemas.ts';

interface Services {
  readonly sessions: SessionService;
}

export const logoutEndpoints = [
  endpoint({
    operationId: 'logout',
    summary: 'Invalidates a user access token.',
    method: 'POST',
    path: '/_matrix/client/v3/logout',
    auth: 'accessToken',
    guests: { allowed: 'users must be able to end their sessions' },
    suspended: 'allowed',
    allowLocked: true,
    rateLimit: 'none',
    response: empty,
    errcodes: ['M_UNKNOWN_TOKEN', 'M_MISSING_TOKEN'],
    async handler({ sessions }: Services, { requester }) {
      await sessions.logout(requester);
      return {};
    },
  }),
  endpoint({
    operationId: 'logout_all',
    summary: 'Invalidates all access tokens for a user.',
    method: 'POST',
    path: '/_matrix/client/v3/logout/all',
    auth: 'accessToken',
    guests: { allowed: 'users must be able to end their sessions' },
    suspended: 'allowed',
    allowLocked: true,
    rateLimit: 'none',
    response: empty,
    errcodes: ['M_UNKNOWN_TOKEN', 'M_MISSING_TOKEN'],
    async handler({ sessions }: Services, { requester }) {
      await sessions.logoutAll(requester.userId);
      return {};
    },
  }),
];
