import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import type { Account, UserService } from '#src/services/accounts/users/user-service.ts';

/** Finds the account of the user that an administrator names. */
export class LocalAccounts {
  readonly #users: UserService;

  constructor(users: UserService) {
    this.#users = users;
  }

  /** @throws MatrixError M_INVALID_PARAM for what is no user id, M_UNKNOWN (400) for a user of another server */
  assertLocal(userId: string): void {
    assertUserId(userId);
    if (!this.#users.isLocal(userId))
      throw new MatrixError('M_UNKNOWN', `${userId} is no user of this server: only local users have accounts here.`);
  }

  /** The account of a user, if there is one. */
  find(userId: string): Promise<Account | undefined> {
    return this.#users.account(userId);
  }

  /** The account of a local user, deactivated or not. @throws MatrixError M_NOT_FOUND, and as `assertLocal` */
  async account(userId: string): Promise<Account> {
    this.assertLocal(userId);
    const account = await this.find(userId);
    if (account === undefined) throw userNotFound();
    return account;
  }
}

/** @throws MatrixError M_INVALID_PARAM */
export const assertUserId = (userId: string): void => {
  if (!isUserId(userId))
    throw new MatrixError('M_INVALID_PARAM', `${userId} is not a user id, such as @alice:example.org.`);
};

/** Tools look for these words. */
export const userNotFound = (): MatrixError => new MatrixError('M_NOT_FOUND', 'User not found');
