import { Type } from 'typebox';
import type { AccountThreepids } from '#src/services/accounts/threepids/account-threepids.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';

const threepid = Type.Object({
  medium: Type.String(),
  address: Type.String(),
  validated_at: Type.Integer(),
  added_at: Type.Integer(),
});

export const administrativeContactEndpoints = (services: {
  readonly accountThreepids: AccountThreepids;
}): readonly Endpoint[] => [
  endpoint({
    operationId: 'getAccount3PIDs',
    summary: "Gets a list of a user's third-party identifiers.",
    method: 'GET',
    path: '/_matrix/client/v3/account/3pid',
    auth: 'accessToken',
    rateLimit: 'default',
    response: Type.Object({ threepids: Type.Array(threepid) }),
    errors: ['M_LIMIT_EXCEEDED'],
    // The capability m.3pid_changes is off: only administrators say which ones an account has.
    async handle({ requester }) {
      const found = await services.accountThreepids.list(requester.userId);
      return {
        threepids: found.map(({ medium, address, validatedTs, addedTs }) => ({
          medium,
          address,
          validated_at: validatedTs,
          added_at: addedTs,
        })),
      };
    },
  }),
];
