import { networkOf } from '#src/kernel/network.ts';
import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import type { Random } from '#src/kernel/random.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Appservices } from '#src/services/accounts/appservices/appservices.ts';
import type { NewSession } from '#src/services/accounts/sessions/session-types.ts';
import type { SessionService } from '#src/services/accounts/sessions/session-service.ts';
import { type NewAccount, userInUse, type UserService } from '#src/services/accounts/users/user-service.ts';
import { type LocalName, nameOfNewAccount } from '#src/services/accounts/users/usernames.ts';
import type { Tx } from '#src/storage/database.ts';

/** How a new user is logged in. */
export interface LoginParams {
  readonly deviceId?: string | undefined;
  readonly displayName?: string | undefined;
  readonly refreshable?: boolean | undefined;
  readonly inhibitLogin?: boolean | undefined;
  /** From where. */
  readonly ip?: string | undefined;
}

export interface Registration {
  readonly userId: string;
  /** Undefined when the request did not want to be logged in. */
  readonly session: NewSession | undefined;
}

export interface NewAccountsDependencies {
  readonly users: UserService;
  readonly sessions: SessionService;
  readonly random: Random;
  readonly rateLimiter: RateLimiter;
  readonly serverName: string;
  readonly appservices: Appservices;
}

/** The group of `rate_limits` that counts accounts that strangers made. */
const ACCOUNTS = 'registration_success';
const LOWERCASE = 'abcdefghijklmnopqrstuvwxyz0123456789';
const GENERATED_LENGTH = 12;

/** What all ways to register have in common: names that are free, and making an account with its first session in one transaction. */
export class NewAccounts {
  readonly #deps: NewAccountsDependencies;

  constructor(deps: NewAccountsDependencies) {
    this.#deps = deps;
  }

  /**
   * The name of a user who does not exist yet.
   *
   * @throws MatrixError M_USER_IN_USE, M_INVALID_USERNAME, M_EXCLUSIVE
   */
  async free(username: string): Promise<LocalName> {
    const { appservices, users, serverName } = this.#deps;
    const name = nameOfNewAccount(username, serverName);
    if (appservices.ownerOfUser(name.userId) !== undefined)
      throw new MatrixError('M_EXCLUSIVE', 'An application service has reserved this user id for itself.');
    if (await users.exists(name.userId)) throw userInUse();
    return name;
  }

  /** Creates an account, within the limit of its network. Failures do not count. */
  async counted<T>(ip: string, make: () => Promise<T>): Promise<T> {
    const { rateLimiter } = this.#deps;
    const network = networkOf(ip);
    const verdict = rateLimiter.take(ACCOUNTS, network);
    if (!verdict.ok) throw limitExceeded(ACCOUNTS, verdict.retryAfterMs);
    try {
      return await make();
    } catch (error) {
      rateLimiter.refund(ACCOUNTS, network);
      throw error;
    }
  }

  /** A made-up name. */
  generate(): LocalName {
    const { random, serverName } = this.#deps;
    return nameOfNewAccount(random.string(GENERATED_LENGTH, LOWERCASE), serverName);
  }

  /** Makes an account, and logs in unless the request does not want that. */
  async make(tx: Tx, wanted: NewAccount, login: LoginParams): Promise<Registration> {
    const account = await this.#deps.users.create(tx, wanted);
    return this.logIn(tx, account.userId, login);
  }

  async logIn(tx: Tx, userId: string, login: LoginParams): Promise<Registration> {
    if (login.inhibitLogin === true) return { userId, session: undefined };
    const { deviceId, displayName, ip, refreshable } = login;
    return {
      userId,
      session: await this.#deps.sessions.createSessionIn(tx, { userId, deviceId, displayName, ip, refreshable }),
    };
  }
}
