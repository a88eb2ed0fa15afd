import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { Account, UserService } from '#src/services/accounts/users/user-service.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { AuditLog } from '#src/services/audit/audit-log.ts';
import type { Database } from '#src/storage/database.ts';

/** Restrictions that an administrator can put on an account. */
export type Restriction = 'locked' | 'suspended';

const ACTIONS = {
  locked: ['user.unlock', 'user.lock'],
  suspended: ['user.unsuspend', 'user.suspend'],
} as const;

/** Locking and suspending of accounts by administrators. Client-Server API, "Account locking", "Account suspension", "Server administration". */
export class AccountModeration {
  readonly #users: UserService;
  readonly #database: Database;
  readonly #auditLog: AuditLog;

  constructor(deps: { readonly users: UserService; readonly database: Database; readonly auditLog: AuditLog }) {
    this.#users = deps.users;
    this.#database = deps.database;
    this.#auditLog = deps.auditLog;
  }

  /** @throws MatrixError M_FORBIDDEN for other administrators, M_INVALID_PARAM for users of other servers, M_NOT_FOUND */
  async is(admin: Requester, userId: string, restriction: Restriction): Promise<boolean> {
    return (await this.#subject(admin.userId, userId))[restriction];
  }

  /** @throws MatrixError M_FORBIDDEN for oneself too, and as `is` */
  async set(
    { admin, actor }: { readonly admin: Requester; readonly actor: Actor },
    userId: string,
    restriction: Restriction,
    value: boolean,
  ): Promise<void> {
    assertNotOwn(actor, admin.userId, userId);
    await this.restrict(actor, await this.#subject(admin.userId, userId), restriction, value);
  }

  /** Restricts any account. No change leaves no entry in the audit log. */
  async restrict(actor: Actor, account: Account, restriction: Restriction, value: boolean): Promise<void> {
    const { userId } = account;
    if (account[restriction] === value) return;
    await this.#database.write(async (tx) => {
      await this.#users.change(tx, userId, { [restriction]: value });
      await this.#auditLog.record(tx, actor, {
        action: ACTIONS[restriction][value ? 1 : 0],
        target: userId,
        before: { [restriction]: !value },
        after: { [restriction]: value },
      });
    });
  }

  async #subject(adminId: string, userId: string): Promise<Account> {
    if (!isUserId(userId) || !this.#users.isLocal(userId))
      throw new MatrixError('M_INVALID_PARAM', `${userId} is no user of this server.`);
    const account = await this.#users.account(userId);
    if (account === undefined || account.deactivated)
      throw new MatrixError('M_NOT_FOUND', 'There is no such account, or it is deactivated.');
    if (account.admin && adminId !== userId)
      throw new MatrixError('M_FORBIDDEN', 'Administrators cannot do this to each other.');
    return account;
  }
}

/** @throws MatrixError M_FORBIDDEN */
const assertNotOwn = (actor: Actor, adminId: string, userId: string): void => {
  // An administrator who acts as another one is still the same person.
  if (adminId === userId || actor.userId === userId)
    throw new MatrixError('M_FORBIDDEN', 'You cannot do this to your own account.');
};
