import { createHmac } from 'node:crypto';
import type { Clock } from '#src/kernel/clock.ts';
import { networkOf } from '#src/kernel/network.ts';
import type { Random } from '#src/kernel/random.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { checkDeviceId, checkDeviceName } from '#src/protocol/identifiers/device-names.ts';
import type { PasswordHasher } from '#src/services/accounts/credentials/password-hasher.ts';
import { checkNewPassword, type PasswordPolicy } from '#src/services/accounts/credentials/password-policy.ts';
import type { SessionService } from '#src/services/accounts/sessions/session-service.ts';
import type { AccountThreepids } from '#src/services/accounts/threepids/account-threepids.ts';
import { EMAIL_STAGE } from '#src/services/accounts/uia/email-stage.ts';
import { DUMMY_STAGE } from '#src/services/accounts/uia/flows.ts';
import type { AuthData } from '#src/services/accounts/uia/stages.ts';
import { acceptedVersions, TERMS_STAGE } from '#src/services/accounts/uia/terms-stage.ts';
import type { Flow, UiaService } from '#src/services/accounts/uia/uia-service.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import { type LocalName, nameOfNewAccount } from '#src/services/accounts/users/usernames.ts';
import type { AddressValidation } from '#src/services/accounts/validation/address-validation.ts';
import type { PolicyGate, RequestOrigin } from '#src/services/policy/gate/policy-gate.ts';
import { insertAcceptedTerms } from '#src/storage/accounts/accepted-terms.ts';
import type { Database } from '#src/storage/database.ts';
import type { LoginParams, NewAccounts, Registration } from './new-accounts.ts';
import type { RegistrationTokens } from './registration-tokens.ts';

export interface RegistrationOptions {
  /** `registration.enabled` */
  readonly enabled: boolean;
  /** `registration.requires_token` */
  readonly requiresToken: boolean;
  /** `registration.requires_email`: an address has to be validated. */
  readonly requiresEmail: boolean;
  /** The stage of the captcha that has to be solved; undefined where there is none. */
  readonly captchaStage?: string | undefined;
  /** Whether there are documents to accept. */
  readonly hasTerms?: boolean;
}

export interface InteractiveRegistrationDependencies {
  readonly database: Database;
  readonly accounts: NewAccounts;
  readonly users: UserService;
  readonly sessions: SessionService;
  readonly uia: UiaService;
  readonly tokens: RegistrationTokens;
  readonly addressValidation: AddressValidation;
  readonly accountThreepids: AccountThreepids;
  readonly hasher: PasswordHasher;
  readonly random: Random;
  readonly clock: Clock;
  readonly policy: PolicyGate;
  readonly serverName: string;
  readonly options: RegistrationOptions;
  readonly passwordPolicy?: PasswordPolicy;
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

/** What the requests of a session asked for. */
interface RegistrationParams extends LoginParams {
  readonly username?: string | undefined;
  /** Its hash, and by what it is known again. */
  readonly password?: { readonly hash: string; readonly mark: string } | undefined;
  /** The guest who is to become a user. */
  readonly guest?: string | undefined;
}

/** Those members that a request has. */
const given = <T extends object>(members: T): Partial<T> =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as Partial<T>;

const TOKEN_STAGE = 'm.login.registration_token';

/** Registers users who prove by user-interactive authentication that they may. Client-Server API, "Account registration" of the legacy API. */
export class InteractiveRegistration {
  readonly #deps: InteractiveRegistrationDependencies;
  readonly #key: Buffer;

  constructor(deps: InteractiveRegistrationDependencies) {
    this.#deps = deps;
    this.#key = deps.random.bytes(32);
  }

  /**
   * Registers a user after user-interactive authentication. What is wrong with the parameters is said before that. They may be spread over
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
    return uia.performGathered<RegistrationParams, Registration>(
      {
        operation: 'register',
        flows: this.#flows(),
        auth,
        ip,
        gather: (earlier) => this.#gather(request, earlier ?? {}),
        repeats: (done) => this.#repeats(request, done),
      },
      ({ proofs, params }) => this.#deps.accounts.counted(ip, () => this.#register(params, proofs, { ip, userAgent })),
    );
  }

  /** What is asked for in all the requests of a session together. The password is kept as its hash only. */
  async #gather(request: RegistrationRequest, earlier: RegistrationParams): Promise<RegistrationParams> {
    const { hasher, passwordPolicy } = this.#deps;
    const { deviceId, displayName, guestAccessToken, inhibitLogin, password, refreshable, username } = request;
    if (deviceId !== undefined) checkDeviceId(deviceId);
    if (displayName !== undefined) checkDeviceName(displayName);
    const params: RegistrationParams = {
      ...earlier,
      ...given({ deviceId, displayName, inhibitLogin, refreshable, username }),
    };
    const guest =
      guestAccessToken === undefined ? undefined : (await this.#guest(guestAccessToken, params.username)).userId;
    const isGuest = guest !== undefined || (earlier.guest !== undefined && params.username === earlier.username);
    if (username !== undefined && !isGuest) await this.#deps.accounts.free(username);
    if (password !== undefined) checkNewPassword(password, passwordPolicy ?? {});
    const mark = password === undefined ? undefined : this.#markOf(password);
    return {
      ...params,
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
    done: RegistrationParams,
  ): boolean {
    const said = given({ deviceId, displayName, inhibitLogin, refreshable, username });
    return (
      Object.entries(said).every(([name, value]) => done[name as keyof RegistrationParams] === value) &&
      (password === undefined || this.#markOf(password) === done.password?.mark)
    );
  }

  /** Tells a password from another one within the life of a session, without hashing it again. The key never leaves the process. */
  #markOf(password: string): string {
    return createHmac('sha256', this.#key).update(password).digest('base64url');
  }

  async #register(
    params: RegistrationParams,
    proofs: Readonly<Record<string, string>>,
    from: RequestOrigin,
  ): Promise<Registration> {
    const { accounts, accountThreepids, addressValidation, clock, database, policy, tokens, users } = this.#deps;
    const token = proofs[TOKEN_STAGE];
    const terms = proofs[TERMS_STAGE];
    const sid = proofs[EMAIL_STAGE];
    if (params.password === undefined)
      throw new MatrixError('M_MISSING_PARAM', 'The member password is missing from the body.');
    const passwordHash = params.password.hash;
    const { guest } = params;
    if (guest !== undefined && (await users.account(guest))?.isGuest !== true) throw notAGuest();
    const name =
      guest !== undefined || params.username === undefined ? undefined : await accounts.free(params.username);
    await policy.mayRegister(params.username, from, async () =>
      sid === undefined ? undefined : addressValidation.addressOf(sid),
    );
    const login = { ...params, ip: from.ip };
    return database.write(async (tx) => {
      if (token !== undefined) await tokens.consume(tx, token);
      const validated = sid === undefined ? undefined : await addressValidation.consume(tx, 'register', sid);
      if (guest !== undefined) await users.change(tx, guest, { isGuest: false, passwordHash });
      const registered =
        guest === undefined
          ? await accounts.make(tx, { ...(name ?? accounts.generate()), passwordHash }, login)
          : await accounts.logIn(tx, guest, login);
      if (terms !== undefined) await insertAcceptedTerms(tx, registered.userId, acceptedVersions(terms), clock.now());
      if (validated !== undefined)
        await accountThreepids.bind(tx, registered.userId, validated.id, validated.validatedTs);
      return registered;
    });
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
}

const notAGuest = (): MatrixError => new MatrixError('M_FORBIDDEN', 'guest_access_token is not the token of a guest.');

const registrationClosed = (): MatrixError =>
  new MatrixError('M_FORBIDDEN', 'Registration is not open on this server.');
