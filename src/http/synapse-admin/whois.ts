import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { UserAdministration } from '#src/services/admin/users/user-administration.ts';
import { actorOf } from '../actor.ts';
import { endpoint } from '../endpoint.ts';
import { orNull, userParams } from './parts/users.ts';

interface Services {
  readonly userAdministration: UserAdministration;
}

/** Synapse Admin API, "Query current sessions for a user". */
export const whoisAdminEndpoints = [
  endpoint({
    operationId: 'adminWhoIs',
    summary: 'From where a user is connected, for the user or an administrator.',
    method: 'GET',
    path: '/_synapse/admin/v1/whois/{user_id}',
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    params: userParams,
    response: Type.Object({
      user_id: Type.String(),
      // Tools look for the connections of all devices under an empty name.
      devices: Type.Object({
        '': Type.Object({
          sessions: Type.Array(
            Type.Object({
              connections: Type.Array(
                Type.Object({ ip: Type.String(), last_seen: Type.Integer(), user_agent: orNull(Type.String()) }),
              ),
            }),
          ),
        }),
      }),
    }),
    errcodes: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_UNKNOWN'],
    async handler({ userAdministration }: Services, { requester, params: { user_id: userId }, info }) {
      const devices = await userAdministration.whoIsLocal(requester, actorOf(requester, info), userId);
      const connections = devices.flatMap(({ lastSeenIp: ip, lastSeenTs: seen, lastSeenUserAgent: agent }) =>
        ip === null || seen === null ? [] : [{ ip, last_seen: seen, user_agent: agent }],
      );
      return { user_id: userId, devices: { '': { sessions: [{ connections }] } } };
    },
  }),
];
