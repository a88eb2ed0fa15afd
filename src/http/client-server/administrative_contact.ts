import { Type } from 'typebox';
import { READS } from '#src/services/accounts/sessions/access-rules.ts';
import type { AccountThreepids } from '#src/services/accounts/threepids/account-threepids.ts';
import { endpoint } from '../endpoint.ts';

const threepid = Type.Object({
  medium: Type.String(),
  address: Type.String(),
  validated_at: Type.Integer(),
  added_at: Type.Integer(),
});

interface Services {
  readonly accountThreepids: AccountThreepids;
}

export const administrativeContactEndpoints = [
  endpoint({
    operationId: 'getAccount3PIDs',
    summary: "Gets a list of a user's third-party identifiers.",
    method: 'GET',
    path: '/_matrix/client/v3/account/3pid',
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    response: Type.Object({ threepids: Type.Array(threepid) }),
    errcodes: ['M_LIMIT_EXCEEDED'],
    // The capability m.3pid_changes is off: only administrators say which ones an account has.
    async handler({ accountThreepids }: Services, { requester }) {
      const found = await accountThreepids.list(requester.userId);
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
