import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { RateLimiter } from '#src/kernel/rate-limiter.ts';
import type { Database } from '#src/storage/database.ts';
import { type AccountCredentials, findCredentials, replacePasswordHash } from '#src/storage/accounts/accounts.ts';
import type { PasswordHasher } from './password-hasher.ts';
import { candidateUserIds } from '#src/services/accounts/users/usernames.ts';

/** The members with which `m.login.password` says who logs in, in `/login` and in user-interactive authentication. */
export interface PasswordClaim {
  readonly identifier?:
    | { readonly type?: unknown; readonly user?: unknown; readonly [member: string]: unknown }
    | undefined;
  /** The older form of `identifier`. */
  readonly user?: unknown;
  readonly password?: unknown;
  readonly [member: string]: unknown;
}

export interface CredentialsDependencies {
  readonly database: Database;
  readonly hasher: PasswordHasher;
  /** Asked for a token of `login` per attempt: by user id, and by address where the endpoint did not do so. */
  readonly rateLimiter: RateLimiter;
  readonly serverName: string;
}

/** Says whether somebody is who they claim to be. */
export class Credentials {
  readonly #deps: CredentialsDependencies;

  constructor(deps: CredentialsDependencies) {
    this.#deps = deps;
  }

  /**
   * The user name of a claim. Client-Server API, "Identifier types".
   *
   * @throws MatrixError M_UNKNOWN for a type of identifier that is not known, M_MISSING_PARAM, and M_FORBIDDEN for third-party
   *   identifiers, since none can be associated with an account
   */
  static userOf(claim: PasswordClaim): string {
    const { identifier } = claim;
    const user = identifier === undefined ? claim.user : identifier.user;
    if (identifier !== undefined && identifier.type !== 'm.id.user') {
      const medium =
        identifier.type === 'm.id.thirdparty' || identifier.type === 'm.id.phone' || 'medium' in identifier;
      if (medium) throw new MatrixError('M_FORBIDDEN', 'No account is associated with that third-party identifier.');
      throw new MatrixError('M_UNKNOWN', 'The identifier must be of type m.id.user.');
    }
    if (identifier === undefined && user === undefined && claim['medium'] !== undefined) {
      throw new MatrixError('M_FORBIDDEN', 'No account is associated with that third-party identifier.');
    }
    if (typeof user !== 'string' || user === '')
      throw new MatrixError('M_MISSING_PARAM', 'The identifier must name a user.');
    return user;
  }

  /** The account a user name stands for, without regard to a password. */
  async resolve(user: string): Promise<AccountCredentials | undefined> {
    const ids = candidateUserIds(user, this.#deps.serverName);
    if (ids.length === 0) return undefined;
    const found = await findCredentials(this.#deps.database, ids);
    return found.find((account) => account.userId === ids[0]) ?? found[0];
  }

  /**
   * Checks a password; it takes as long for an unknown user as for a wrong password. A hash made with an older cost is renewed.
   *
   * @param address counted against the limit on attempts; undefined where the request was counted already
   * @returns the account, or undefined when there is none or the password is not its own
   * @throws MatrixError M_LIMIT_EXCEEDED, M_USER_DEACTIVATED, M_INVALID_PARAM for a password that is not text
   */
  async check(user: string, password: unknown, address: string | undefined): Promise<AccountCredentials | undefined> {
    if (typeof password !== 'string') throw new MatrixError('M_MISSING_PARAM', 'The member password is missing.');
    const account = await this.resolve(user);
    if (address !== undefined) this.#limit(address);
    this.#limit(account?.userId ?? user);
    if (account?.deactivated === true)
      throw new MatrixError('M_USER_DEACTIVATED', 'This account has been deactivated.');
    if (!(await this.#deps.hasher.verify(account?.passwordHash, password)) || account === undefined) return undefined;
    await this.#renew(account, password);
    return account;
  }

  async #renew(account: AccountCredentials, password: string): Promise<void> {
    const { database, hasher } = this.#deps;
    if (account.passwordHash === null || !hasher.isOutdated(account.passwordHash)) return;
    await replacePasswordHash(database, account.userId, account.passwordHash, await hasher.hash(password));
  }

  #limit(key: string): void {
    const verdict = this.#deps.rateLimiter.take('login', key);
    if (verdict.ok) return;
    throw new MatrixError('M_LIMIT_EXCEEDED', 'Too many attempts to log in: wait before the next one.', {
      retry_after_ms: verdict.retryAfterMs,
      'org.tsudoi.limiter': 'login',
    });
  }
}
