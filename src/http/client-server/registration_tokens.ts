import { Type } from 'typebox';
import type { InteractiveRegistration } from '#src/services/accounts/registration/interactive-registration.ts';
import { endpoint } from '../endpoint.ts';

interface Services {
  readonly interactiveRegistration: InteractiveRegistration;
}

export const registrationTokenEndpoints = [
  endpoint({
    operationId: 'registrationTokenValidity',
    summary: 'Query if a given registration token is still valid.',
    method: 'GET',
    path: '/_matrix/client/v1/register/m.login.registration_token/validity',
    auth: 'none',
    rateLimit: 'registration',
    query: Type.Object({ token: Type.String() }),
    response: Type.Object({ valid: Type.Boolean() }),
    errcodes: ['M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    async handler({ interactiveRegistration: registration }: Services, { query }) {
      return { valid: await registration.isTokenValid(query.token) };
    },
  }),
];
