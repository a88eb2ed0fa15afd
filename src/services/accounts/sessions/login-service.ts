import { networkOf } from '#src/kernel/network.ts';
import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { type LoginAttempts, OF_ADDRESS } from '#src/services/accounts/credentials/login-attempts.ts';
import { Credentials, type PasswordClaim } from '#src/services/accounts/credentials/credentials.ts';
import type { PolicyGate } from '#src/services/policy/gate/policy-gate.ts';
import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import type { Appservices } from '#src/services/accounts/appservices/appservices.ts';
import { assertUserOf } from '#src/services/accounts/appservices/namespaces.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import { candidateUserIds } from '#src/services/accounts/users/usernames.ts';
import type { Tx } from '#src/storage/database.ts';
import type { LoginTokens } from './login-tokens.ts';
import type { NewSession } from './session-types.ts';
import type { SessionService } from './session-service.ts';
import {
  notRegistered,
  userDeactivated,
  userLocked,
  wrongPassword,
} from '#src/services/accounts/users/account-errors.ts';

export interface LoginRequest extends PasswordClaim {
  readonly type: string;
  /** For `m.login.token` and `org.matrix.login.jwt`. */
  readonly token?: string | undefined;
  readonly deviceId?: string | undefined;
  readonly displayName?: string | undefined;
  readonly refreshable?: boolean | undefined;
  /** Where it comes from. */
  readonly ip: string;
  readonly userAgent?: string | undefined;
  /** What the client says of the languages that its user reads. */
  readonly acceptLanguage?: string | undefined;
}

/** A login by an application service: the user and the device. */
type AppserviceLogin = PasswordClaim & Pick<LoginRequest, 'deviceId' | 'displayName' | 'refreshable'>;

/** The user who logs in, proved by their credentials. */
interface Proof {
  readonly userId: string;
  readonly locked: boolean;
  readonly passwordHash?: string | null;
  /** Spends a credential that is valid for one login, in the transaction of that login. */
  readonly spend?: (tx: Tx) => Promise<void>;
}

/** A way of logging in by a token of another issuer. */
export interface ProvedLogins {
  /** The type of login. */
  readonly type: string;
  /** The user of a token. @throws MatrixError M_FORBIDDEN, M_USER_DEACTIVATED, M_EXCLUSIVE */
  redeem(token: string): Promise<{ readonly userId: string; readonly locked: boolean }>;
}

const APPSERVICE_LOGIN = 'm.login.application_service';

/** Logs users in. Client-Server API, "Login" of the legacy API. */
export class LoginService {
  readonly #attempts: LoginAttempts;
  readonly #credentials: Credentials;
  readonly #sessions: SessionService;
  readonly #rateLimiter: RateLimiter;
  readonly #tokens: LoginTokens | undefined;
  readonly #proved: ProvedLogins | undefined;
  readonly #givesNotice: boolean;
  readonly #policy: PolicyGate;
  readonly #appservices: Appservices;
  readonly #users: UserService;
  readonly #serverName: string;

  constructor(deps: {
    readonly attempts: LoginAttempts;
    readonly credentials: Credentials;
    readonly sessions: SessionService;
    readonly rateLimiter: RateLimiter;
    readonly policy: PolicyGate;
    readonly appservices: Appservices;
    readonly users: UserService;
    readonly serverName: string;
    /** Without it there is no `m.login.token`. */
    readonly tokens?: LoginTokens;
    readonly proved?: ProvedLogins | undefined;
    /** `email.login_notices` */
    readonly givesNotice?: boolean;
  }) {
    this.#givesNotice = deps.givesNotice === true;
    this.#attempts = deps.attempts;
    this.#credentials = deps.credentials;
    this.#sessions = deps.sessions;
    this.#rateLimiter = deps.rateLimiter;
    this.#policy = deps.policy;
    this.#appservices = deps.appservices;
    this.#users = deps.users;
    this.#serverName = deps.serverName;
    this.#tokens = deps.tokens;
    this.#proved = deps.proved;
  }

  /** The types of login that `login` knows. */
  flows(): readonly { readonly type: string; readonly get_login_token?: boolean }[] {
    const token = this.#tokens === undefined ? [] : [{ type: 'm.login.token', get_login_token: true }];
    const proved = this.#proved === undefined ? [] : [{ type: this.#proved.type }];
    const bridges = this.#appservices.all().length === 0 ? [] : [{ type: APPSERVICE_LOGIN }];
    return [{ type: 'm.login.password' }, ...token, ...proved, ...bridges];
  }

  /**
   * Logs a user in.
   *
   * @throws MatrixError M_UNKNOWN for an unknown type, M_FORBIDDEN for a user or password that is wrong or no longer good,
   *   M_USER_DEACTIVATED (a login token of such an account), M_USER_LOCKED, M_LIMIT_EXCEEDED, M_MISSING_PARAM, M_INVALID_PARAM
   */
  async login(request: LoginRequest): Promise<NewSession> {
    const account = await this.#account(request);
    if (account.locked) throw userLocked();
    this.#attempts.succeeded(account.userId);
    await this.#policy.mayLogIn(account.userId, { ip: request.ip, userAgent: request.userAgent }, request);
    const session = {
      userId: account.userId,
      passwordHash: account.passwordHash ?? undefined,
      deviceId: request.deviceId,
      displayName: request.displayName,
      refreshable: request.refreshable,
      ip: request.ip,
      noticed: this.#givesNotice ? { ip: request.ip, acceptLanguage: request.acceptLanguage } : undefined,
    };
    return this.#sessions.createSession(session, account.spend);
  }

  /**
   * Logs a user of an application service in. Client-Server API, "Appservice Login".
   *
   * @throws MatrixError M_EXCLUSIVE (not of its namespaces), M_FORBIDDEN (not registered), M_USER_DEACTIVATED, M_USER_LOCKED,
   *   M_MISSING_PARAM, M_INVALID_PARAM
   */
  async loginByAppservice(service: ApplicationService, request: AppserviceLogin): Promise<NewSession> {
    const claimant = Credentials.claimantOf(request);
    const userIds = 'user' in claimant ? candidateUserIds(claimant.user, this.#serverName) : [];
    const userId = (await this.#existing(userIds)) ?? userIds[0];
    if (userId === undefined)
      throw new MatrixError(
        'M_EXCLUSIVE',
        'An application service logs in users of its namespaces: name one by m.id.user.',
      );
    assertUserOf(this.#appservices, service, userId);
    const account = await this.#users.account(userId);
    if (account === undefined) throw notRegistered();
    if (account.deactivated) throw userDeactivated();
    if (account.locked) throw userLocked();
    const { deviceId, displayName, refreshable } = request;
    return this.#sessions.createSession({ userId, deviceId, displayName, refreshable });
  }

  async #existing(userIds: readonly string[]): Promise<string | undefined> {
    for (const userId of userIds) if (await this.#users.exists(userId)) return userId;
    return undefined;
  }

  async #account(request: LoginRequest): Promise<Proof> {
    const tokens = this.#tokens;
    if (request.type === 'm.login.token' && tokens !== undefined) {
      const { token } = request;
      if (token === undefined) throw new MatrixError('M_MISSING_PARAM', 'The member token is missing.');
      return { ...(await tokens.accountOf(token)), spend: (tx) => tokens.spend(tx, token) };
    }
    if (request.type === this.#proved?.type) return this.#redeem(this.#proved, request);
    if (request.type !== 'm.login.password')
      throw new MatrixError('M_UNKNOWN', 'This server does not know that type of login.');
    const claimant = Credentials.claimantOf(request);
    const claimed = await this.#credentials.resolve(claimant);
    const { deviceId, ip: address, password } = request;
    const account = await this.#credentials.check(claimed, claimant, password, { address, deviceId });
    if (account === undefined) throw wrongPassword();
    return account;
  }

  /** Only failures count, as with passwords. */
  async #redeem(proved: ProvedLogins, { ip, token }: LoginRequest): Promise<{ userId: string; locked: boolean }> {
    if (token === undefined) throw new MatrixError('M_FORBIDDEN', 'The member token is missing.');
    const network = networkOf(ip);
    const verdict = this.#rateLimiter.take(OF_ADDRESS, network);
    if (!verdict.ok) throw limitExceeded(OF_ADDRESS, verdict.retryAfterMs);
    const account = await proved.redeem(token);
    this.#rateLimiter.refund(OF_ADDRESS, network);
    return account;
  }
}
