import { createHmac } from 'node:crypto';
import type { Clock } from '#src/kernel/clock.ts';
import { networkOf } from '#src/kernel/network.ts';
import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import type { Random } from '#src/kernel/random.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { checkDeviceId, checkDeviceName } from '#src/protocol/identifiers/device-names.ts';
import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import type { Appservices } from '#src/services/accounts/appservices/appservices.ts';
import type { NewSession, SessionService } from '#src/services/accounts/sessions/session-service.ts';
import type { AccountThreepids } from '#src/services/accounts/threepids/account-threepids.ts';
import type { AddressValidation } from '#src/services/accounts/validation/address-validation.ts';
import { assertUserOf } from '#src/services/accounts/appservices/namespaces.ts';
import { EMAIL_STAGE } from '#src/services/accounts/uia/email-stage.ts';
import type { AuthData } from '#src/services/accounts/uia/stages.ts';
import { acceptedVersions, TERMS_STAGE } from '#src/services/accounts/uia/terms-stage.ts';
import type { Flow, UiaService } from '#src/services/accounts/uia/uia-service.ts';
import {
  checkGivenPassword,
  checkNewPassword,
  type PasswordPolicy,
} from '#src/services/accounts/credentials/password-policy.ts';
import type { PasswordHasher } from '#src/services/accounts/credentials/password-hasher.ts';
import {
  type Account,
  type NewAccount,
  userInUse,
  type UserService,
} from '#src/services/accounts/users/user-service.ts';
import type { PolicyGate, RequestOrigin } from '#src/services/policy/gate/policy-gate.ts';
import { type LocalName, nameOfAppserviceUser, nameOfNewAccount } from '#src/services/accounts/users/usernames.ts';
import { insertAcceptedTerms } from '#src/storage/accounts/accepted-terms.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { AuditLog } from '#src/services/audit/audit-log.ts';
import type { RegistrationTokens } from './registration-tokens.ts';

export interface RegistrationOptions {
  /** `registration.enabled` */
  readonly enabled: boolean;
  /** `registration.requires_token` */
  readonly requiresToken: boolean;
  /** `registration.requires_email`: an address has to be validated. */
  readonly requiresEmail: boolean;
  /** `registration.guests`: whether clients get guest accounts. */
  readonly guests: boolean;
  /** The stage of the captcha that has to be solved; undefined where there is none. */
  readonly captchaStage?: string | undefined;
  /** Whether there are documents to accept. */
  readonly hasTerms?: boolean;
}

/** Stores the profile of a new user. */
export interface NewProfiles {
  /** Gives a user the display name that the request wants, as far as it can be one, in the transaction that makes their account. */
  nameNewUser(tx: Tx, userId: string, displayname: string): Promise<void>;
}

export interface RegistrationServiceDependencies {
  readonly database: Database;
  readonly users: UserService;
  readonly sessions: SessionService;
  readonly uia: UiaService;
  readonly tokens: RegistrationTokens;
  readonly addressValidation: AddressValidation;
  readonly accountThreepids: AccountThreepids;
  readonly hasher: PasswordHasher;
  readonly random: Random;
  readonly clock: Clock;
  readonly rateLimiter: RateLimiter;
  readonly policy: PolicyGate;
  readonly serverName: string;
  readonly profiles: NewProfiles;
  readonly auditLog: AuditLog;
  readonly options: RegistrationOptions;
  readonly passwordPolicy?: PasswordPolicy;
  readonly appservices: Appservices;
}

export interface LoginParams {
  readonly deviceId?: string | undefined;
  readonly displayName?: string | undefined;
  readonly refreshable?: boolean | undefined;
  readonly inhibitLogin?: boolean | undefined;
  /** From where. */
  readonly ip?: string | undefined;
}

export interface RegistrationRequest extends LoginParams {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly auth: AuthData | undefined;
  /** The access token of a guest who wants to become a user. */
  readonly guestAccessToken?: string | undefined;
  readonly ip: string;
  readonly userAgent?: string | undefined;
}

export interface Registration {
  readonly userId: string;
  /** Undefined when the request did not want to be logged in. */
  readonly session: NewSession | undefined;
}

/** What the requests of a session asked for. */
interface Wishes extends LoginParams {
  readonly username?: string | undefined;
  /** Its hash, and by what it is known again. */
  readonly password?: { readonly hash: string; readonly mark: string } | undefined;
  /** The guest who is to become a user. */
  readonly guest?: string | undefined;
}

/** Those members that a request has. */
const given = <T extends object>(members: T): Partial<T> =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as Partial<T>;

/** The group of `rate_limits` that counts accounts that strangers made. */
const ACCOUNTS = 'registration_success';
const DUMMY_STAGE = 'm.login.dummy';
const TOKEN_STAGE = 'm.login.registration_token';
const LOWERCASE = 'abcdefghijklmnopqrstuvwxyz0123456789';
const GENERATED_LENGTH = 12;

/** Registers accounts. Client-Server API, "Account registration" of the legacy API. */
export class RegistrationService {
  readonly #deps: RegistrationServiceDependencies;
  readonly #key: Buffer;

  constructor(deps: RegistrationServiceDependencies) {
    this.#deps = deps;
    this.#key = deps.random.bytes(32);
  }

  /**
   * Registers a user after user-interactive authentication. What is wrong with the wishes is said before that. They may be spread over
   * the requests of a session (clients learn the flows by an empty one, or send nothing but `auth` afterwards), and a client that repeats the
   * last request gets the same account, device and tokens.
   *
   * @throws UiaChallenge; MatrixError M_FORBIDDEN (registration is closed), M_USER_IN_USE, M_INVALID_USERNAME, M_EXCLUSIVE,
   *   M_WEAK_PASSWORD, M_MISSING_PARAM (no password), M_INVALID_PARAM
   */
  async register(request: RegistrationRequest): Promise<Registration> {
    const { uia } = this.#deps;
    this.assertOpen();
    const { auth, ip, userAgent } = request;
    return uia.performGathered<Wishes, Registration>(
      {
        operation: 'register',
        flows: this.#flows(),
        auth,
        ip,
        gather: (earlier) => this.#gather(request, earlier ?? {}),
        repeats: (done) => this.#repeats(request, done),
      },
      ({ proofs, wishes }) => this.#counted(ip, () => this.#register(wishes, proofs, { ip, userAgent })),
    );
  }

  /** What is wished for in all the requests of a session together. The password is kept as its hash only. */
  async #gather(request: RegistrationRequest, earlier: Wishes): Promise<Wishes> {
    const { hasher, passwordPolicy } = this.#deps;
    const { deviceId, displayName, guestAccessToken, inhibitLogin, password, refreshable, username } = request;
    if (deviceId !== undefined) checkDeviceId(deviceId);
    if (displayName !== undefined) checkDeviceName(displayName);
    const wishes: Wishes = { ...earlier, ...given({ deviceId, displayName, inhibitLogin, refreshable, username }) };
    const guest =
      guestAccessToken === undefined ? undefined : (await this.#guest(guestAccessToken, wishes.username)).userId;
    const isGuest = guest !== undefined || (earlier.guest !== undefined && wishes.username === earlier.username);
    if (username !== undefined && !isGuest) await this.#free(username);
    if (password !== undefined) checkNewPassword(password, passwordPolicy ?? {});
    const mark = password === undefined ? undefined : this.#markOf(password);
    return {
      ...wishes,
      guest: isGuest ? (guest ?? earlier.guest) : undefined,
      ...(password === undefined || mark === undefined || mark === earlier.password?.mark
        ? {}
        : {
            password: { hash: await hasher.hash(password, { party: networkOf(request.ip), isPreferred: false }), mark },
          }),
    };
  }

  /** Whether a request repeats the one that was carried out. */
  #repeats(
    { deviceId, displayName, inhibitLogin, password, refreshable, username }: RegistrationRequest,
    done: Wishes,
  ): boolean {
    const said = given({ deviceId, displayName, inhibitLogin, refreshable, username });
    return (
      Object.entries(said).every(([wish, value]) => done[wish as keyof Wishes] === value) &&
      (password === undefined || this.#markOf(password) === done.password?.mark)
    );
  }

  /** Tells a password from another one within the life of a session, without hashing it again. The key never leaves the process. */
  #markOf(password: string): string {
    return createHmac('sha256', this.#key).update(password).digest('base64url');
  }

  async #register(
    wishes: Wishes,
    proofs: Readonly<Record<string, string>>,
    from: RequestOrigin,
  ): Promise<Registration> {
    const { accountThreepids, addressValidation, clock, database, policy, tokens, users } = this.#deps;
    const token = proofs[TOKEN_STAGE];
    const terms = proofs[TERMS_STAGE];
    const sid = proofs[EMAIL_STAGE];
    if (wishes.password === undefined)
      throw new MatrixError('M_MISSING_PARAM', 'The member password is missing from the body.');
    const passwordHash = wishes.password.hash;
    const { guest } = wishes;
    if (guest !== undefined && (await users.account(guest))?.isGuest !== true) throw notAGuest();
    const name = guest !== undefined || wishes.username === undefined ? undefined : await this.#free(wishes.username);
    await policy.mayRegister(wishes.username, from, async () =>
      sid === undefined ? undefined : addressValidation.addressOf(sid),
    );
    const login = { ...wishes, ip: from.ip };
    return database.write(async (tx) => {
      if (token !== undefined) await tokens.consume(tx, token);
      const validated = sid === undefined ? undefined : await addressValidation.consume(tx, 'register', sid);
      if (guest !== undefined) await users.change(tx, guest, { isGuest: false, passwordHash });
      const registered =
        guest === undefined
          ? await this.#make(tx, { ...(name ?? this.#generate()), passwordHash }, login)
          : await this.#logIn(tx, guest, login);
      if (terms !== undefined) await insertAcceptedTerms(tx, registered.userId, acceptedVersions(terms), clock.now());
      if (validated !== undefined)
        await accountThreepids.bind(tx, registered.userId, validated.id, validated.validatedTs);
      return registered;
    });
  }

  /**
   * Registers a user of an application service, who has no password. Application Service API, "Server admin style permissions".
   *
   * @throws MatrixError M_EXCLUSIVE (not of its namespaces), M_USER_IN_USE, M_INVALID_USERNAME, M_MISSING_PARAM, M_INVALID_PARAM
   */
  async registerByAppservice(
    service: ApplicationService,
    username: string | undefined,
    login: LoginParams,
  ): Promise<Registration> {
    const { appservices, database, serverName, users } = this.#deps;
    if (username === undefined)
      throw new MatrixError('M_MISSING_PARAM', 'The member username is missing from the body.');
    const name = nameOfAppserviceUser(username, serverName);
    assertUserOf(appservices, service, name.userId);
    if (await users.exists(name.userId)) throw userInUse();
    return database.write((tx) => this.#make(tx, { ...name, passwordHash: null, appserviceId: service.id }, login));
  }

  /** Makes a guest account with a made-up name and device id. @throws MatrixError M_FORBIDDEN when guests are not allowed */
  registerGuest(displayName: string | undefined, ip: string, userAgent?: string): Promise<Registration> {
    const { options, database, policy } = this.#deps;
    if (!options.guests) return Promise.reject(new MatrixError('M_FORBIDDEN', 'This server does not allow guests.'));
    return this.#counted(ip, async () => {
      await policy.mayRegister(undefined, { ip, userAgent });
      return database.write((tx) =>
        this.#make(tx, { ...this.#generate(), passwordHash: null, isGuest: true }, { displayName }),
      );
    });
  }

  /** Creates an account, within the limit of its network. Failures do not count. */
  async #counted<T>(ip: string, make: () => Promise<T>): Promise<T> {
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

  /**
   * Creates an account for an administrator, without the rules for registration.
   *
   * @throws MatrixError M_USER_IN_USE, M_INVALID_USERNAME, M_INVALID_PARAM; M_WEAK_PASSWORD for a password of the user's own
   */
  async registerByAdmin(
    actor: Actor,
    wanted: {
      readonly username: string;
      readonly password: string;
      /** Whether its user has chosen the password: it must be as the policy wants it, then. */
      readonly ownPassword?: boolean;
      readonly admin: boolean;
      readonly userType?: string | null;
      readonly displayName?: string | undefined;
    },
    login: LoginParams,
  ): Promise<Registration> {
    const { users, hasher, passwordPolicy, serverName, database } = this.#deps;
    const name = nameOfNewAccount(wanted.username, serverName);
    if (await users.exists(name.userId)) throw userInUse();
    if (wanted.ownPassword === true) checkNewPassword(wanted.password, passwordPolicy ?? {});
    else checkGivenPassword(wanted.password);
    const passwordHash = await hasher.hash(wanted.password, { party: 'administrators', isPreferred: true });
    const { admin, displayName, userType } = wanted;
    return database.write(async (tx) => {
      const made = await this.#make(tx, { ...name, passwordHash, admin, userType: userType ?? null }, login);
      await this.#deps.auditLog.record(tx, actor, {
        action: 'user.create',
        target: made.userId,
        after: { admin, user_type: userType ?? null, has_password: true },
      });
      if (displayName !== undefined) await this.#deps.profiles.nameNewUser(tx, made.userId, displayName);
      return made;
    });
  }

  /**
   * The account of a user who was authenticated by another service; a new one, without a password, where there is none.
   *
   * @throws MatrixError M_EXCLUSIVE, M_INVALID_USERNAME
   */
  async registerProved(userId: string, displayName: string | undefined): Promise<Account> {
    const { database, profiles, users } = this.#deps;
    try {
      const name = await this.#free(userId);
      return await database.write(async (tx) => {
        const account = await users.create(tx, { ...name, passwordHash: null });
        if (displayName !== undefined) await profiles.nameNewUser(tx, account.userId, displayName);
        return account;
      });
    } catch (error) {
      // Of two first logins at once, the second finds the account of the first.
      const made = error instanceof MatrixError && error.errcode === 'M_USER_IN_USE' && (await users.account(userId));
      if (made) return made;
      throw error;
    }
  }

  /**
   * Whether `username` could be registered now.
   *
   * @throws MatrixError M_USER_IN_USE, M_INVALID_USERNAME, M_EXCLUSIVE
   */
  async checkAvailable(username: string): Promise<void> {
    await this.#free(username);
  }

  /** @throws MatrixError M_FORBIDDEN where nobody can register */
  assertOpen(): void {
    const { addressValidation, options } = this.#deps;
    // What cannot be proved must not be left out.
    if (!options.enabled || (options.requiresEmail && !addressValidation.isEnabled)) throw registrationClosed();
  }

  /** Whether a registration token could be used now. @throws MatrixError M_FORBIDDEN when registration is closed */
  async isTokenValid(token: string): Promise<boolean> {
    if (!this.#deps.options.enabled) throw registrationClosed();
    return this.#deps.tokens.isValid(token);
  }

  #flows(): readonly Flow[] {
    const { addressValidation, options } = this.#deps;
    const { captchaStage, hasTerms, requiresToken } = options;
    const first = [...(requiresToken ? [TOKEN_STAGE] : []), ...(captchaStage === undefined ? [] : [captchaStage])];
    const last = hasTerms === true ? [TERMS_STAGE] : [];
    const withMail = addressValidation.isEnabled ? [[...first, EMAIL_STAGE, ...last]] : [];
    if (options.requiresEmail) return withMail;
    const flow = [...first, ...last];
    // A flow that is part of another one would be complete before the client comes to the mail: "used to differentiate flows".
    if (flow.length === 0) return [[DUMMY_STAGE], ...withMail];
    return [withMail.length > 0 ? [...first, DUMMY_STAGE, ...last] : flow, ...withMail];
  }

  async #free(username: string): Promise<LocalName> {
    const { appservices, users, serverName } = this.#deps;
    const name = nameOfNewAccount(username, serverName);
    if (appservices.ownerOfUser(name.userId) !== undefined)
      throw new MatrixError('M_EXCLUSIVE', 'An application service has reserved this user id for itself.');
    if (await users.exists(name.userId)) throw userInUse();
    return name;
  }

  /** The account of a guest who becomes a user. Client-Server API, "Guest Access". */
  async #guest(accessToken: string, username: string | undefined): Promise<LocalName> {
    const { sessions, users, serverName } = this.#deps;
    const requester = await sessions.authenticate(accessToken);
    const account = await users.account(requester.userId);
    if (account === undefined || !requester.isGuest) throw notAGuest();
    if (username === undefined || nameOfNewAccount(username, serverName).userId !== account.userId) {
      throw new MatrixError(
        'M_INVALID_USERNAME',
        "A guest who registers must give the localpart of the guest's own user id as username.",
      );
    }
    return account;
  }

  #generate(): LocalName {
    const { random, serverName } = this.#deps;
    return nameOfNewAccount(random.string(GENERATED_LENGTH, LOWERCASE), serverName);
  }

  async #make(tx: Tx, wanted: NewAccount, login: LoginParams): Promise<Registration> {
    const account = await this.#deps.users.create(tx, wanted);
    return this.#logIn(tx, account.userId, login);
  }

  async #logIn(tx: Tx, userId: string, login: LoginParams): Promise<Registration> {
    if (login.inhibitLogin === true) return { userId, session: undefined };
    const { deviceId, displayName, ip, refreshable } = login;
    return {
      userId,
      session: await this.#deps.sessions.createSessionIn(tx, { userId, deviceId, displayName, ip, refreshable }),
    };
  }
}

const notAGuest = (): MatrixError => new MatrixError('M_FORBIDDEN', 'guest_access_token is not the token of a guest.');

const registrationClosed = (): MatrixError =>
  new MatrixError('M_FORBIDDEN', 'Registration is not open on this server.');
