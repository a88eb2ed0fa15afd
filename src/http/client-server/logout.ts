import type { SessionService } from '#src/services/accounts/sessions/session-service.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { empty } from './auth-schemas.ts';

export const logoutEndpoints = (services: { readonly sessions: SessionService }): readonly Endpoint[] => [
  endpoint({
    operationId: 'logout',
    summary: 'Invalidates a user access token.',
    method: 'POST',
    path: '/_matrix/client/v3/logout',
    auth: 'accessTokenOrGuest',
    allowLocked: true,
    rateLimit: 'none',
    response: empty,
    errors: ['M_UNKNOWN_TOKEN', 'M_MISSING_TOKEN'],
    async handle({ requester }) {
      await services.sessions.logout(requester);
      return {};
    },
  }),
  endpoint({
    operationId: 'logout_all',
    summary: 'Invalidates all access tokens for a user.',
    method: 'POST',
    path: '/_matrix/client/v3/logout/all',
    auth: 'accessTokenOrGuest',
    allowLocked: true,
    rateLimit: 'none',
    response: empty,
    errors: ['M_UNKNOWN_TOKEN', 'M_MISSING_TOKEN'],
    async handle({ requester }) {
      await services.sessions.logoutAll(requester.userId);
      return {};
    },
  }),
];
