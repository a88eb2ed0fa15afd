import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { RequestInfo } from './middleware/request-info.ts';

/** The administrator behind a request, for the audit log. */
export const actorOf = ({ adminLogin, deviceId, userId }: Requester, { ip }: Pick<RequestInfo, 'ip'>): Actor => ({
  userId: adminLogin?.admin ?? userId,
  deviceId,
  ip,
  via: 'http',
});
