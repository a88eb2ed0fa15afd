import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import { deleteAdminLoginsOf } from '#src/storage/accounts/admin-logins.ts';
import type { Tx } from '#src/storage/database.ts';

/**
 * Ends the sessions in which an administrator acts as others, when they are demoted or their sessions are not to be trusted.
 *
 * @param asUserToo those in which others act as this user, too: the account was deactivated
 */
export const endAdminLogins = async (
  tx: Tx,
  stream: AccountStream,
  userId: string,
  asUserToo: boolean,
): Promise<void> => {
  const ended = await deleteAdminLoginsOf(tx, userId, asUserToo);
  if (ended.length === 0) return;
  tx.afterCommit(() => {
    for (const { sessionId, userId: as } of ended) stream.publish({ kind: 'admin_login_ended', userId: as, sessionId });
  });
};
