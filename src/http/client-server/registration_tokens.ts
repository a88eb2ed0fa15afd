import { Type } from 'typebox';
import type { RegistrationService } from '#src/services/accounts/registration/registration-service.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';

export const registrationTokenEndpoints = (services: {
  readonly registration: RegistrationService;
}): readonly Endpoint[] => [
  endpoint({
    operationId: 'registrationTokenValidity',
    summary: 'Query if a given registration token is still valid.',
    method: 'GET',
    path: '/_matrix/client/v1/register/m.login.registration_token/validity',
    auth: 'none',
    rateLimit: 'registration',
    query: Type.Object({ token: Type.String() }),
    response: Type.Object({ valid: Type.Boolean() }),
    errors: ['M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    async handle({ query }) {
      return { valid: await services.registration.isTokenValid(query.token) };
    },
  }),
];
