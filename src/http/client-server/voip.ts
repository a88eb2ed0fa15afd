import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { TurnCredentials } from '#src/services/user-data/voip/turn-credentials.ts';
import { endpoint } from '../endpoint.ts';

interface Services {
  readonly turn: TurnCredentials;
}

export const voipEndpoints = [
  endpoint({
    operationId: 'getTurnServer',
    summary: 'Obtain TURN server credentials.',
    method: 'GET',
    path: '/_matrix/client/v3/voip/turnServer',
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    response: Type.Partial(
      Type.Object({
        username: Type.String(),
        password: Type.String(),
        uris: Type.Array(Type.String()),
        ttl: Type.Integer(),
      }),
    ),
    errcodes: ['M_LIMIT_EXCEEDED'],
    // Clients know an empty object as "this server has none".
    handler: async ({ turn }: Services, { requester }) => turn.for(requester.userId) ?? {},
  }),
];
