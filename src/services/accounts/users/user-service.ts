import { listUser } from '#src/jobs/definitions.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { LiveCache } from '#src/kernel/caches/live-cache.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import {
  type AccountChanges,
  type AccountRecord,
  adminExists,
  findAccount,
  insertAccount,
  updateAccount,
} from '#src/storage/accounts/accounts.ts';
import { endAdminLogins } from './ending-admin-logins.ts';
import type { LocalName } from './usernames.ts';
import { accountNotFound } from './account-errors.ts';

/** An account of this server. */
export type Account = AccountRecord;

export interface UserServiceDependencies {
  readonly database: Database;
  readonly clock: Clock;
  readonly stream: AccountStream;
  readonly serverName: string;
  /** Lists a new user in the user directory. Resolves to false when a job has to. */
  readonly listNew: (tx: Tx, userId: string) => Promise<boolean>;
  /** Milliseconds for which new accounts are good; null, the default, for ever. */
  readonly validityMs?: number | null;
  /** Accounts kept in memory; default 50 000. */
  readonly cacheSize?: number;
}

export interface NewAccount extends LocalName {
  readonly passwordHash: string | null;
  readonly isGuest?: boolean;
  readonly admin?: boolean;
  readonly appserviceId?: string | null;
  readonly userType?: string | null;
}

/** The accounts of this server. */
export class UserService {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #serverName: string;
  readonly #accounts: LiveCache<{ readonly account: Account | undefined }>;
  readonly #stream: AccountStream;
  readonly #validityMs: number | null;
  readonly #listNew: UserServiceDependencies['listNew'];

  constructor(deps: UserServiceDependencies) {
    this.#database = deps.database;
    this.#clock = deps.clock;
    this.#serverName = deps.serverName;
    this.#accounts = new LiveCache({ name: 'accounts', maxSize: deps.cacheSize ?? 50_000 });
    this.#stream = deps.stream;
    this.#validityMs = deps.validityMs ?? null;
    this.#listNew = deps.listNew;
  }

  /** Whether a user id belongs to this server, account or not. */
  isLocal(userId: string): boolean {
    return domainOf(userId) === this.#serverName;
  }

  /** The account of a local user, from memory where it was asked for before. */
  async account(userId: string): Promise<Account | undefined> {
    const known = this.#accounts.peek(userId);
    if (known !== undefined) return known.account;
    if (!this.isLocal(userId) || userId.includes('\0')) return undefined;
    const read = await this.#accounts.get(userId, async () => ({ account: await findAccount(this.#database, userId) }));
    return read.account;
  }

  /** Whether an account with this id exists, deactivated ones included: their names are never given out again. */
  async exists(userId: string): Promise<boolean> {
    return (await this.account(userId)) !== undefined;
  }

  /** Whether this server has an administrator. */
  adminExists(): Promise<boolean> {
    return adminExists(this.#database);
  }

  /**
   * Makes an account within a transaction.
   *
   * @throws MatrixError M_USER_IN_USE
   */
  async create(tx: Tx, account: NewAccount): Promise<Account> {
    const createdTs = this.#clock.now();
    const expires = this.#validityMs !== null && account.isGuest !== true && (account.appserviceId ?? null) === null;
    const made = await insertAccount(tx, {
      userId: account.userId,
      localpart: account.localpart,
      passwordHash: account.passwordHash,
      createdTs,
      expiresTs: expires && this.#validityMs !== null ? createdTs + this.#validityMs : null,
      isGuest: account.isGuest ?? false,
      admin: account.admin ?? false,
      appserviceId: account.appserviceId ?? null,
      userType: account.userType ?? null,
    });
    if (made === undefined) throw userInUse();
    if (!made.isGuest && !(await this.#listNew(tx, made.userId))) await tx.enqueue(listUser, { userId: made.userId });
    tx.afterCommit(() => {
      this.#forget(made.userId);
      this.#stream.publish({ kind: 'registered', account: made });
    });
    return made;
  }

  /**
   * Changes an account within a transaction.
   *
   * @throws MatrixError M_NOT_FOUND
   */
  async change(tx: Tx, userId: string, changes: AccountChanges): Promise<void> {
    if (!(await updateAccount(tx, userId, changes))) throw accountNotFound();
    if (changes.deactivated !== undefined || changes.isGuest !== undefined) await tx.enqueue(listUser, { userId });
    if (
      changes.deactivated === true ||
      changes.locked === true ||
      changes.suspended === true ||
      changes.admin === false
    )
      await endAdminLogins(tx, this.#stream, userId, changes.deactivated === true);
    const { passwordHash: _secret, ...visible } = changes;
    tx.afterCommit(() => {
      this.#forget(userId);
      this.#stream.publish({ kind: 'changed', userId, changes: visible });
    });
  }

  #forget(userId: string): void {
    this.#accounts.forget(userId);
  }
}

/** The answer to a request for a name that is taken. */
export const userInUse = (): MatrixError => new MatrixError('M_USER_IN_USE', 'User ID already taken.');
