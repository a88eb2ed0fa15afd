import { Type } from 'typebox';
import type { TurnCredentials } from '#src/services/user-data/voip/turn-credentials.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';

export const voipEndpoints = (services: { readonly turn: TurnCredentials }): readonly Endpoint[] => [
  endpoint({
    operationId: 'getTurnServer',
    summary: 'Obtain TURN server credentials.',
    method: 'GET',
    path: '/_matrix/client/v3/voip/turnServer',
    auth: 'accessToken',
    rateLimit: 'default',
    response: Type.Partial(
      Type.Object({
        username: Type.String(),
        password: Type.String(),
        uris: Type.Array(Type.String()),
        ttl: Type.Integer(),
      }),
    ),
    errors: ['M_LIMIT_EXCEEDED'],
    // Clients know an empty object as "this server has none".
    handle: async ({ requester }) => services.turn.for(requester.userId) ?? {},
  }),
];
