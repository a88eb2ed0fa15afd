import type { Random } from '#src/kernel/random.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { NewSession, SessionService } from '#src/services/accounts/sessions/session-service.ts';
import type { AuthData } from '#src/services/accounts/uia/stages.ts';
import type { Flow, UiaService, UiaRequest } from '#src/services/accounts/uia/uia-service.ts';
import { checkNewPassword, type PasswordPolicy } from '#src/services/accounts/credentials/password-policy.ts';
import type { PasswordHasher } from '#src/services/accounts/credentials/password-hasher.ts';
import { type NewAccount, userInUse, type UserService } from '#src/services/accounts/users/user-service.ts';
import { type LocalName, nameOfNewAccount } from '#src/services/accounts/users/usernames.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import type { RegistrationTokens } from './registration-tokens.ts';

export interface RegistrationOptions {
  /** `registration.enabled` */
  readonly enabled: boolean;
  /** `registration.requires_token` */
  readonly requiresToken: boolean;
  /** `registration.requires_email`: as long as addresses cannot be verified, this closes registration. */
  readonly requiresEmail: boolean;
  /** `registration.guests`: whether anybody may get a guest account. */
  readonly guests: boolean;
}

export interface RegistrationServiceDependencies {
  readonly database: Database;
  readonly users: UserService;
  readonly sessions: SessionService;
  readonly uia: UiaService;
  readonly tokens: RegistrationTokens;
  readonly hasher: PasswordHasher;
  readonly random: Random;
  readonly serverName: string;
  readonly options: RegistrationOptions;
  readonly passwordPolicy?: PasswordPolicy;
  /** Whether a user id is in an application service's exclusive namespace. */
  readonly isReserved?: (userId: string) => boolean;
}

export interface LoginWishes {
  readonly deviceId?: string | undefined;
  readonly displayName?: string | undefined;
  readonly refreshable?: boolean | undefined;
  readonly inhibitLogin?: boolean | undefined;
}

export interface RegistrationRequest extends LoginWishes {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly auth: AuthData | undefined;
  /** The access token of a guest who wants to become a user. */
  readonly guestAccessToken?: string | undefined;
  readonly ip: string;
}

export interface Registration {
  readonly userId: string;
  /** Undefined when the request did not want to be logged in. */
  readonly session: NewSession | undefined;
}

const LOWERCASE = 'abcdefghijklmnopqrstuvwxyz0123456789';
const GENERATED_LENGTH = 12;

/** Makes accounts. Client-Server API, "Account registration" of the legacy API. */
export class RegistrationService {
  readonly #deps: RegistrationServiceDependencies;

  constructor(deps: RegistrationServiceDependencies) {
    this.#deps = deps;
  }

  /**
   * Registers a user after user-interactive authentication. What is wrong with the wishes is said before that.
   *
   * @throws UiaChallenge; MatrixError M_FORBIDDEN (registration is closed), M_USER_IN_USE, M_INVALID_USERNAME, M_EXCLUSIVE,
   *   M_WEAK_PASSWORD, M_MISSING_PARAM (no password), M_INVALID_PARAM
   */
  async register(request: RegistrationRequest): Promise<Registration> {
    const { options, uia, hasher, tokens, passwordPolicy } = this.#deps;
    if (!options.enabled) throw registrationClosed();
    if (options.requiresEmail) {
      throw new MatrixError(
        'M_FORBIDDEN',
        'Registration asks for a verified mail address, which this server cannot verify.',
      );
    }
    const guest =
      request.guestAccessToken === undefined
        ? undefined
        : await this.#guest(request.guestAccessToken, request.username);
    const name = guest ?? (request.username === undefined ? undefined : await this.#free(request.username));
    if (request.password !== undefined) checkNewPassword(request.password, passwordPolicy ?? {});

    const authorization: UiaRequest = {
      operation: 'register',
      parameters: [name?.userId ?? null],
      flows: this.#flows(),
      auth: request.auth,
      ip: request.ip,
    };
    const authorized = await uia.authorize(authorization);
    if (request.password === undefined)
      throw new MatrixError('M_MISSING_PARAM', 'The member password is missing from the body.');
    const passwordHash = await hasher.hash(request.password);
    const token = authorized.proofs['m.login.registration_token'];
    const registration = await this.#deps.database.write(async (tx) => {
      if (token !== undefined) await tokens.consume(tx, token);
      if (guest === undefined) return this.#make(tx, { ...(name ?? this.#generate()), passwordHash }, request);
      await this.#deps.users.change(tx, guest.userId, { isGuest: false, passwordHash });
      return this.#logIn(tx, guest.userId, request);
    });
    await uia.end(authorized);
    return registration;
  }

  /** Makes a guest account with a made-up name and device id. @throws MatrixError M_FORBIDDEN when guests are not allowed */
  registerGuest(displayName: string | undefined): Promise<Registration> {
    const { options, database } = this.#deps;
    if (!options.guests) return Promise.reject(new MatrixError('M_FORBIDDEN', 'This server does not allow guests.'));
    return database.write((tx) =>
      this.#make(tx, { ...this.#generate(), passwordHash: null, isGuest: true }, { displayName }),
    );
  }

  /**
   * Makes an account that an administrator wants, whatever the rules for strangers.
   *
   * @throws MatrixError M_USER_IN_USE, M_INVALID_USERNAME, M_WEAK_PASSWORD, M_INVALID_PARAM
   */
  async registerByAdmin(
    wanted: {
      readonly username: string;
      readonly password: string;
      readonly admin: boolean;
      readonly userType?: string | null;
      readonly displayName?: string | undefined;
    },
    login: LoginWishes,
  ): Promise<Registration> {
    const { users, hasher, passwordPolicy, serverName, database } = this.#deps;
    const name = nameOfNewAccount(wanted.username, serverName);
    if (await users.exists(name.userId)) throw userInUse();
    checkNewPassword(wanted.password, passwordPolicy ?? {});
    const passwordHash = await hasher.hash(wanted.password);
    const { admin, displayName, userType } = wanted;
    return database.write((tx) =>
      this.#make(tx, { ...name, passwordHash, admin, userType: userType ?? null, displayName }, login),
    );
  }

  /**
   * Whether somebody could register under `username` now.
   *
   * @throws MatrixError M_USER_IN_USE, M_INVALID_USERNAME, M_EXCLUSIVE
   */
  async checkAvailable(username: string): Promise<void> {
    await this.#free(username);
  }

  /** Whether a registration token could be used now. @throws MatrixError M_FORBIDDEN when registration is closed */
  async isTokenValid(token: string): Promise<boolean> {
    if (!this.#deps.options.enabled) throw registrationClosed();
    return this.#deps.tokens.isValid(token);
  }

  #flows(): readonly Flow[] {
    return [this.#deps.options.requiresToken ? ['m.login.registration_token'] : ['m.login.dummy']];
  }

  async #free(username: string): Promise<LocalName> {
    const { users, serverName, isReserved } = this.#deps;
    const name = nameOfNewAccount(username, serverName);
    if (isReserved?.(name.userId) === true) {
      throw new MatrixError('M_EXCLUSIVE', 'An application service has reserved this user id for itself.');
    }
    if (await users.exists(name.userId)) throw userInUse();
    return name;
  }

  /** The account of a guest who becomes a user. Client-Server API, "Guest Access". */
  async #guest(accessToken: string, username: string | undefined): Promise<LocalName> {
    const { sessions, users, serverName } = this.#deps;
    const requester = await sessions.authenticate(accessToken);
    const account = await users.account(requester.userId);
    if (account === undefined || !requester.isGuest)
      throw new MatrixError('M_FORBIDDEN', 'guest_access_token is not the token of a guest.');
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

  async #make(tx: Tx, wanted: NewAccount, login: LoginWishes): Promise<Registration> {
    const account = await this.#deps.users.create(tx, wanted);
    return this.#logIn(tx, account.userId, login);
  }

  async #logIn(tx: Tx, userId: string, login: LoginWishes): Promise<Registration> {
    if (login.inhibitLogin === true) return { userId, session: undefined };
    const { deviceId, displayName, refreshable } = login;
    return {
      userId,
      session: await this.#deps.sessions.createSessionIn(tx, { userId, deviceId, displayName, refreshable }),
    };
  }
}

const registrationClosed = (): MatrixError =>
  new MatrixError('M_FORBIDDEN', 'Registration is not open on this server.');
