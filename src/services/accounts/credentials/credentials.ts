import type { Place } from '#src/kernel/line.ts';
import { networkOf } from '#src/kernel/network.ts';
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
  readonly rateLimiter: RateLimiter;
  readonly serverName: string;
}

/** From where a password comes. */
export interface Attempt {
  readonly address: string;
  /** The user whose access token came with it: nobody else can use up their attempts. */
  readonly sessionOf?: string | undefined;
}

/** Groups of `rate_limits` that count failed attempts. */
const OF_ACCOUNT_AND_ADDRESS = 'login';
const OF_ADDRESS = 'login_address';
const OF_ACCOUNT = 'login_account';

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
   * Checks a password. Unknown, deactivated and wrong are told apart neither by words nor by time. A hash made with an older cost is renewed.
   *
   * Only failures count: of an account from one network; of a network, whichever accounts; and of an account from networks where it is not
   * in use. So nobody locks the owner of an account out from where they are, and nobody guesses from many places at once for long.
   *
   * @param claimed what `resolve` found for `user`
   * @returns the account, or undefined when there is none or the password is not its own
   * @throws MatrixError M_LIMIT_EXCEEDED, M_MISSING_PARAM for a password that is not text
   */
  async check(
    claimed: AccountCredentials | undefined,
    user: string,
    password: unknown,
    { address, sessionOf }: Attempt,
  ): Promise<AccountCredentials | undefined> {
    if (typeof password !== 'string') throw new MatrixError('M_MISSING_PARAM', 'The member password is missing.');
    const account = claimed?.deactivated === true ? undefined : claimed;
    const name = claimed?.userId ?? candidateUserIds(user, this.#deps.serverName)[0] ?? '';
    const network = networkOf(address);
    const isKnown = sessionOf !== undefined || account?.addresses.some((used) => networkOf(used) === network) === true;
    const counts: readonly Count[] =
      sessionOf === undefined
        ? [
            [OF_ACCOUNT_AND_ADDRESS, `${name} ${network}`],
            ...(isKnown
              ? []
              : ([
                  [OF_ADDRESS, network],
                  [OF_ACCOUNT, name],
                ] as const)),
          ]
        : [[OF_ACCOUNT_AND_ADDRESS, `${sessionOf} by session`]];
    this.#count(counts);
    const place = { party: sessionOf ?? network, isPreferred: isKnown };
    if (!(await this.#deps.hasher.verify(account?.passwordHash, password, place)) || account === undefined)
      return undefined;
    for (const [bucket, key] of counts) this.#deps.rateLimiter.giveBack(bucket, key);
    await this.#renew(account, password, place);
    return account;
  }

  async #renew(account: AccountCredentials, password: string, place: Place): Promise<void> {
    const { database, hasher } = this.#deps;
    if (account.passwordHash === null || !hasher.isOutdated(account.passwordHash)) return;
    await replacePasswordHash(database, account.userId, account.passwordHash, await hasher.hash(password, place));
  }

  /** Counts an attempt as failed before it is known how it ends: of many at once no more are let in than of one after the other. */
  #count(counts: readonly Count[]): void {
    const { rateLimiter } = this.#deps;
    for (const [index, [bucket, key]] of counts.entries()) {
      const verdict = rateLimiter.take(bucket, key);
      if (verdict.ok) continue;
      for (const [taken, of] of counts.slice(0, index)) rateLimiter.giveBack(taken, of);
      throw new MatrixError('M_LIMIT_EXCEEDED', 'Too many attempts to log in: wait before the next one.', {
        retry_after_ms: verdict.retryAfterMs,
        'org.tsudoi.limiter': bucket,
      });
    }
  }
}

/** A group of limits, and a key in it. */
type Count = readonly [bucket: string, key: string];
