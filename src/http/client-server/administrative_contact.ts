import { Type } from 'typebox';
import { type Endpoint, endpoint } from '../endpoint.ts';

export const administrativeContactEndpoints = (): readonly Endpoint[] => [
  endpoint({
    operationId: 'getAccount3PIDs',
    summary: "Gets a list of a user's third-party identifiers.",
    method: 'GET',
    path: '/_matrix/client/v3/account/3pid',
    auth: 'accessToken',
    rateLimit: 'default',
    response: Type.Object({ threepids: Type.Array(Type.Object({})) }),
    errors: ['M_LIMIT_EXCEEDED'],
    // The capability m.3pid_changes is off: no account has any.
    handle: () => Promise.resolve({ threepids: [] }),
  }),
];
