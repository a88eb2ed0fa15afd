import { Type } from 'typebox';
import type { UserAdministration } from '#src/services/admin/users/user-administration.ts';
import { actorOf } from '../actor.ts';
import { empty } from '../client-server/parts/room-schemas.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from '../synapse-admin/parts/access.ts';
import { ACCOUNT_ERRORS, orNull, userParams } from '../synapse-admin/parts/users.ts';

const path = '/_tsudoi/admin/v1/users/{user_id}/logins';

interface Services {
  readonly userAdministration: UserAdministration;
}

/** Sessions in which administrators act as a user (`POST /_synapse/admin/v1/users/{user_id}/login`). */
export const adminLoginEndpoints = [
  endpoint({
    operationId: 'listAdminLogins',
    summary: 'Sessions in which administrators act as a user.',
    method: 'GET',
    path,
    ...OF_ADMINISTRATORS,
    params: userParams,
    response: Type.Object({
      logins: Type.Array(
        Type.Object({
          id: Type.String(),
          admin: Type.String(),
          created_ts: Type.Integer(),
          valid_until_ms: orNull(Type.Integer()),
        }),
      ),
    }),
    errcodes: ACCOUNT_ERRORS,
    handler: async ({ userAdministration }: Services, { params: { user_id: userId } }) => ({
      logins: (await userAdministration.adminLogins(userId)).map(({ admin, createdTs, expiresTs, sessionId }) => ({
        id: sessionId,
        admin,
        created_ts: createdTs,
        valid_until_ms: expiresTs,
      })),
    }),
  }),
  endpoint({
    operationId: 'endAdminLogin',
    summary: 'Ends a session in which an administrator acts as a user.',
    method: 'DELETE',
    path: `${path}/{id}`,
    ...OF_ADMINISTRATORS,
    params: Type.Object({ user_id: Type.String(), id: Type.String() }),
    response: empty,
    errcodes: ACCOUNT_ERRORS,
    async handler({ userAdministration }: Services, { params: { id, user_id: userId }, requester, info }) {
      await userAdministration.endAdminLogin(actorOf(requester, info), userId, id);
      return {};
    },
  }),
];
