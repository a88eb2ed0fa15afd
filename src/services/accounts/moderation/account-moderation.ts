import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { Account, UserService } from '#src/services/accounts/users/user-service.ts';

/** What an administrator may do to an account without ending it. */
export type Restriction = 'locked' | 'suspended';

/** Locking and suspending of accounts by administrators. Client-Server API, "Account locking", "Account suspension", "Server administration". */
export class AccountModeration {
  readonly #users: UserService;

  constructor(users: UserService) {
    this.#users = users;
  }

  /** @throws MatrixError M_FORBIDDEN for other administrators, M_INVALID_PARAM for users of other servers, M_NOT_FOUND */
  async is(admin: Requester, userId: string, restriction: Restriction): Promise<boolean> {
    return (await this.#subject(admin, userId))[restriction];
  }

  /** @throws MatrixError M_FORBIDDEN for oneself too, and as `is` */
  async set(admin: Requester, userId: string, restriction: Restriction, value: boolean): Promise<void> {
    if (admin.userId === userId) throw new MatrixError('M_FORBIDDEN', 'You cannot do this to your own account.');
    const account = await this.#subject(admin, userId);
    if (account[restriction] === value) return;
    await (restriction === 'locked' ? this.#users.setLocked(userId, value) : this.#users.setSuspended(userId, value));
  }

  async #subject(admin: Requester, userId: string): Promise<Account> {
    if (!isUserId(userId) || !this.#users.isLocal(userId))
      throw new MatrixError('M_INVALID_PARAM', `${userId} is no user of this server.`);
    const account = await this.#users.account(userId);
    if (account === undefined || account.deactivated)
      throw new MatrixError('M_NOT_FOUND', 'There is no such account, or it is deactivated.');
    if (account.admin && admin.userId !== userId)
      throw new MatrixError('M_FORBIDDEN', 'Administrators cannot do this to each other.');
    return account;
  }
}
