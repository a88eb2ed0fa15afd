import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import type { Appservices } from '#src/services/accounts/appservices/appservices.ts';
import { assertUserOf } from '#src/services/accounts/appservices/namespaces.ts';
import {
  checkGivenPassword,
  checkNewPassword,
  type PasswordPolicy,
} from '#src/services/accounts/credentials/password-policy.ts';
import type { PasswordHasher } from '#src/services/accounts/credentials/password-hasher.ts';
import { type Account, userInUse, type UserService } from '#src/services/accounts/users/user-service.ts';
import { nameOfAppserviceUser, nameOfNewAccount } from '#src/services/accounts/users/usernames.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { AuditLog } from '#src/services/audit/audit-log.ts';
import type { PolicyGate } from '#src/services/policy/gate/policy-gate.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import type { LoginParams, NewAccounts, Registration } from './new-accounts.ts';

/** Stores the profile of a new user. */
export interface NewProfiles {
  /** Gives a user the display name that the request wants, as far as it can be one, in the transaction that makes their account. */
  nameNewUser(tx: Tx, userId: string, displayname: string): Promise<void>;
}

export interface RegistrationServiceDependencies {
  readonly database: Database;
  readonly accounts: NewAccounts;
  readonly users: UserService;
  readonly hasher: PasswordHasher;
  readonly policy: PolicyGate;
  readonly serverName: string;
  readonly profiles: NewProfiles;
  readonly auditLog: AuditLog;
  readonly passwordPolicy?: PasswordPolicy;
  readonly appservices: Appservices;
  /** `registration.guests`: whether clients get guest accounts. */
  readonly guests: boolean;
}

/**
 * Registers those who need not prove anything: guests, users of application services, and users whom administrators or other services
 * vouch for. Users who register themselves: `InteractiveRegistration`.
 */
export class RegistrationService {
  readonly #deps: RegistrationServiceDependencies;

  constructor(deps: RegistrationServiceDependencies) {
    this.#deps = deps;
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
    return database.write((tx) =>
      this.#deps.accounts.make(tx, { ...name, passwordHash: null, appserviceId: service.id }, login),
    );
  }

  /** Makes a guest account with a made-up name and device id. @throws MatrixError M_FORBIDDEN when guests are not allowed */
  registerGuest(displayName: string | undefined, ip: string, userAgent?: string): Promise<Registration> {
    const { accounts, database, guests, policy } = this.#deps;
    if (!guests) return Promise.reject(new MatrixError('M_FORBIDDEN', 'This server does not allow guests.'));
    return accounts.counted(ip, async () => {
      await policy.mayRegister(undefined, { ip, userAgent });
      return database.write((tx) =>
        accounts.make(tx, { ...accounts.generate(), passwordHash: null, isGuest: true }, { displayName }),
      );
    });
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
      const made = await this.#deps.accounts.make(
        tx,
        { ...name, passwordHash, admin, userType: userType ?? null },
        login,
      );
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
      const name = await this.#deps.accounts.free(userId);
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
    await this.#deps.accounts.free(username);
  }
}
