import { Type } from 'typebox';
import { ADMINISTERS } from '#src/services/accounts/sessions/access-rules.ts';
import type { AccountThreepids } from '#src/services/accounts/threepids/account-threepids.ts';
import { endpoint } from '../endpoint.ts';

const path = '/_tsudoi/admin/v1/users/{userId}/threepids';
const params = Type.Object({ userId: Type.String() });
const threepid = Type.Object({ medium: Type.String(), address: Type.String() });
const response = Type.Object({ threepids: Type.Array(threepid) });

interface Services {
  readonly accountThreepids: AccountThreepids;
}

const shown = (found: Awaited<ReturnType<AccountThreepids['ofAccount']>>) => ({
  threepids: found.map(({ medium, address }) => ({ medium, address })),
});

/** Administrators say which addresses outside Matrix belong to an account. Invitations that wait for one of them are redeemed then. */
export const threepidEndpoints = [
  endpoint({
    operationId: 'getThreepids',
    summary: "An account's third-party identifiers.",
    method: 'GET',
    path,
    auth: 'admin',
    guests: 'refused',
    suspended: ADMINISTERS,
    rateLimit: 'default',
    params,
    response,
    errcodes: ['M_NOT_FOUND'],
    handler: async ({ accountThreepids }: Services, { params: { userId } }) =>
      shown(await accountThreepids.ofAccount(userId)),
  }),
  endpoint({
    operationId: 'setThreepids',
    summary: "Sets all of an account's third-party identifiers.",
    method: 'PUT',
    path,
    auth: 'admin',
    guests: 'refused',
    suspended: ADMINISTERS,
    rateLimit: 'default',
    params,
    body: Type.Object({ threepids: Type.Array(threepid, { maxItems: 100 }) }),
    response,
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_THREEPID_MEDIUM_NOT_SUPPORTED', 'M_THREEPID_IN_USE', 'M_TOO_LARGE'],
    async handler({ accountThreepids }: Services, { params: { userId }, body }) {
      await accountThreepids.replace(userId, body.threepids);
      return shown(await accountThreepids.ofAccount(userId));
    },
  }),
];
