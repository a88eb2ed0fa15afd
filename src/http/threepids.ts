import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { AccountThreepids } from '#src/services/accounts/threepids/account-threepids.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import { type Endpoint, endpoint } from './endpoint.ts';

const path = '/_tsudoi/admin/v1/users/{userId}/threepids';
const params = Type.Object({ userId: Type.String() });
const threepid = Type.Object({ medium: Type.String(), address: Type.String() });
const response = Type.Object({ threepids: Type.Array(threepid) });

/** Administrators say which addresses outside Matrix belong to an account. Invitations that wait for one of them are redeemed then. */
export const threepidEndpoints = (services: {
  readonly accountThreepids: AccountThreepids;
  readonly users: UserService;
}): readonly Endpoint[] => {
  const list = async (userId: string) => {
    if (!(await services.users.exists(userId)))
      throw new MatrixError('M_NOT_FOUND', 'There is no such account on this server.');
    const found = await services.accountThreepids.list(userId);
    return { threepids: found.map(({ medium, address }) => ({ medium, address })) };
  };
  return [
    endpoint({
      operationId: 'getThreepids',
      summary: "An account's third-party identifiers.",
      method: 'GET',
      path,
      auth: 'admin',
      rateLimit: 'default',
      params,
      response,
      errors: ['M_NOT_FOUND'],
      handle: ({ params: { userId } }) => list(userId),
    }),
    endpoint({
      operationId: 'setThreepids',
      summary: "Sets all of an account's third-party identifiers.",
      method: 'PUT',
      path,
      auth: 'admin',
      rateLimit: 'default',
      params,
      body: Type.Object({ threepids: Type.Array(threepid, { maxItems: 100 }) }),
      response,
      errors: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_THREEPID_MEDIUM_NOT_SUPPORTED', 'M_THREEPID_IN_USE'],
      async handle({ params: { userId }, body }) {
        await services.accountThreepids.replace(userId, body.threepids);
        return list(userId);
      },
    }),
  ];
};
