import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Account, UserService } from '#src/services/accounts/users/user-service.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { AuditLog } from '#src/services/audit/audit-log.ts';
import type { LinkTokens } from '#src/services/accounts/validation/link-tokens.ts';
import { giveExpiry } from '#src/storage/accounts/account-expiry.ts';
import type { Database } from '#src/storage/database.ts';
import { accountNotFound } from '#src/services/accounts/users/account-errors.ts';

export interface AccountValidityOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly users: UserService;
  readonly linkTokens: LinkTokens;
  readonly auditLog: AuditLog;
  /** Milliseconds for which an account is good; null: accounts do not expire. */
  readonly periodMs: number | null;
}

/** Where the links lead with which accounts are renewed: `RENEWAL_PATH?user_id=...&token=...` */
export const RENEWAL_PATH = '/_tsudoi/account/renew';

const PURPOSE = 'renew an account';
const BATCH_SIZE = 1_000;
/** Accounts that existed before validity was switched on expire up to this share of the period earlier, at random: not all on one day. */
const SPREAD = 0.1;

/** Account validity: accounts expire unless their users renew them by a link in a mail. Those of administrators never expire. */
export class AccountValidity {
  readonly #options: AccountValidityOptions;

  constructor(options: AccountValidityOptions) {
    this.#options = options;
  }

  /** Sets the expiry of accounts from before validity was enabled. May be interrupted and starts again. */
  async start(): Promise<void> {
    const { clock, database, periodMs } = this.#options;
    if (periodMs === null) return;
    const latest = clock.now() + periodMs;
    const span = { earliest: latest - Math.floor(periodMs * SPREAD), latest };
    for (let given = BATCH_SIZE; given === BATCH_SIZE;) given = await giveExpiry(database, span, BATCH_SIZE);
  }

  /** Until when an account is good, in milliseconds since the epoch; null: for ever. @throws MatrixError M_NOT_FOUND */
  async of(userId: string): Promise<number | null> {
    return (await this.#account(userId)).expiresTs;
  }

  /**
   * Says until when an account is good, and whether its user is told by mail that this is about to end.
   *
   * @param params without a time: for the whole period from now on
   * @returns that time
   * @throws MatrixError M_NOT_FOUND; M_UNKNOWN (400) without a time where accounts do not expire
   */
  async setByAdmin(
    actor: Actor,
    userId: string,
    params: { readonly expiresTs?: number | undefined; readonly mails: boolean },
  ): Promise<number> {
    const { auditLog, clock, database, periodMs, users } = this.#options;
    const before = await this.#account(userId);
    if (params.expiresTs === undefined && periodMs === null)
      throw new MatrixError('M_UNKNOWN', 'Accounts do not expire on this server: expiration_ts has to say until when.');
    const expiresTs = params.expiresTs ?? clock.now() + (periodMs ?? 0);
    await database.write(async (tx) => {
      await users.change(tx, userId, { expiresTs, expiryMails: params.mails });
      await auditLog.record(tx, actor, {
        action: 'user.set_validity',
        target: userId,
        before: { expiration_ts: before.expiresTs, mails: before.expiryMails },
        after: { expiration_ts: expiresTs, mails: params.mails },
      });
    });
    return expiresTs;
  }

  /** The token with which a user renews the account, once: it is worth nothing afterwards. Undefined for one that does not expire. */
  async renewalToken(userId: string): Promise<string | undefined> {
    const { expiresTs } = await this.#account(userId);
    return expiresTs === null ? undefined : this.#options.linkTokens.of(PURPOSE, userId, String(expiresTs));
  }

  /** Whether a token is good for a renewal now. */
  async isRenewable(userId: string, token: string): Promise<boolean> {
    const account = await this.#options.users.account(userId);
    return account !== undefined && this.#matches(account, token);
  }

  /**
   * Makes an account good for the whole time again, also when it has expired.
   *
   * @returns until when it is good
   * @throws MatrixError M_FORBIDDEN for a token that is none, or was used
   */
  async renew(userId: string, token: string): Promise<number> {
    const { clock, database, periodMs, users } = this.#options;
    const account = await users.account(userId);
    if (account === undefined || !this.#matches(account, token) || periodMs === null)
      throw new MatrixError('M_FORBIDDEN', 'This link is not valid, or not any more.');
    const expiresTs = clock.now() + periodMs;
    await database.write((tx) => users.change(tx, userId, { expiresTs }));
    return expiresTs;
  }

  #matches({ deactivated, expiresTs, userId }: Account, token: string): boolean {
    const { linkTokens, periodMs } = this.#options;
    const isRenewable = periodMs !== null && expiresTs !== null && !deactivated;
    return isRenewable && linkTokens.matches(token, PURPOSE, userId, String(expiresTs));
  }

  async #account(userId: string): Promise<Account> {
    const account = await this.#options.users.account(userId);
    if (account !== undefined && !account.deactivated) return account;
    throw accountNotFound();
  }
}
