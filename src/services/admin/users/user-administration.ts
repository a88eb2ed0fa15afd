import { carryProfile } from '#src/jobs/definitions.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { OwnAddresses } from '#src/services/accounts/contact/own-addresses.ts';
import type { AccountModeration } from '#src/services/accounts/moderation/account-moderation.ts';
import type { Device, DeviceService } from '#src/services/accounts/devices/device-service.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { AccountService } from '#src/services/accounts/sessions/account-service.ts';
import type { SessionService } from '#src/services/accounts/sessions/session-service.ts';
import type { Account, UserService } from '#src/services/accounts/users/user-service.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { AuditLog } from '#src/services/audit/audit-log.ts';
import type { AccountChanges } from '#src/storage/accounts/accounts.ts';
import type { AdminLoginRecord } from '#src/storage/accounts/admin-logins.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import { crossSigningKeysOf, grantReplacement } from '#src/storage/e2ee/cross-signing-keys.ts';
import type { LocalAccounts } from './local-accounts.ts';

/** How fast a user may send; 0 per second: as fast as they like. */
export interface OwnLimit {
  readonly perSecond: number;
  readonly burst: number;
}

export interface UserAdministrationOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly localAccounts: LocalAccounts;
  readonly users: UserService;
  readonly accounts: AccountService;
  readonly devices: DeviceService;
  readonly sessions: SessionService;
  readonly moderation: AccountModeration;
  readonly ownAddresses: OwnAddresses;
  readonly auditLog: AuditLog;
}

/** Milliseconds in which a user may replace the cross-signing keys without saying the password. */
const REPLACEMENT_MS = 10 * 60_000;
const MAX_PER_SECOND = 2 ** 31 - 1;

/** What administrators do to accounts. Every change leaves its entry in the audit log; what is so already is no change. */
export class UserAdministration {
  readonly #options: UserAdministrationOptions;

  constructor(options: UserAdministrationOptions) {
    this.#options = options;
  }

  /** @throws MatrixError M_NOT_FOUND; M_UNKNOWN (400) for users of other servers, and for administrators who would demote themselves */
  async setAdmin(actor: Actor, userId: string, admin: boolean): Promise<void> {
    const account = await this.#options.localAccounts.account(userId);
    if (!admin) assertNotSelf(actor, userId, 'You may not demote yourself.');
    await this.#change(actor, account, admin ? 'user.promote' : 'user.demote', { admin });
  }

  /**
   * Deactivates an account. What follows from that is a job.
   *
   * @returns whether everything that identity servers were told of the user is taken back
   * @throws MatrixError M_NOT_FOUND; M_UNKNOWN (400) for users of other servers, or oneself
   */
  async deactivate(actor: Actor, userId: string, erase: boolean): Promise<'success' | 'no-support'> {
    const { accounts, auditLog, database, ownAddresses, localAccounts } = this.#options;
    const { deactivated, erased } = await localAccounts.account(userId);
    assertNotSelf(actor, userId, 'Administrators do not deactivate their own accounts here: ask another one.');
    if (!deactivated || (erase && !erased))
      await database.write(async (tx) => {
        await accounts.deactivateIn(tx, userId, erase);
        await auditLog.record(tx, actor, {
          action: 'user.deactivate',
          target: userId,
          before: { deactivated, erased },
          after: { deactivated: true, erased: erased || erase },
        });
      });
    return ownAddresses.unbindAll(userId);
  }

  /** @throws MatrixError M_NOT_FOUND; M_UNKNOWN (400) for users of other servers, or oneself */
  async suspend(actor: Actor, userId: string, suspended: boolean): Promise<void> {
    const account = await this.#options.localAccounts.account(userId);
    assertNotSelf(actor, userId, 'Administrators do not suspend themselves.');
    await this.#options.moderation.restrict(actor, account, 'suspended', suspended);
  }

  /** Locks an account, or unlocks it. @throws MatrixError M_NOT_FOUND; M_UNKNOWN (400) for users of other servers, or oneself */
  async lock(actor: Actor, userId: string, locked: boolean): Promise<void> {
    const account = await this.#options.localAccounts.account(userId);
    assertNotSelf(actor, userId, 'Administrators do not lock themselves out.');
    await this.#options.moderation.restrict(actor, account, 'locked', locked);
  }

  /** @throws MatrixError M_NOT_FOUND, M_UNKNOWN (400) for users of other servers */
  async shadowBan(actor: Actor, userId: string, shadowBanned: boolean): Promise<void> {
    const account = await this.#options.localAccounts.account(userId);
    // Changes of their profile meanwhile are sent once the ban ends.
    const also = (tx: Tx): Promise<void> => (shadowBanned ? Promise.resolve() : tx.enqueue(carryProfile, { userId }));
    await this.#change(actor, account, shadowBanned ? 'user.shadow_ban' : 'user.shadow_unban', { shadowBanned }, also);
  }

  /**
   * Sets a password. All devices are logged out, unless `logoutDevices` is false.
   *
   * @throws MatrixError M_NOT_FOUND, M_UNKNOWN (400) for users of other servers, M_INVALID_PARAM
   */
  async resetPassword(actor: Actor, userId: string, password: string, logoutDevices: boolean): Promise<void> {
    const { accounts, auditLog, database, localAccounts } = this.#options;
    const account = await localAccounts.account(userId);
    if (account.deactivated) throw new MatrixError('M_UNKNOWN', 'This account is deactivated: reactivate it first.');
    const { setIn } = await accounts.passwordByAdmin(password, logoutDevices ? 'others' : 'none');
    await database.write(async (tx) => {
      await setIn(tx, userId, actor.userId === userId ? actor.deviceId : undefined);
      await auditLog.record(tx, actor, {
        action: 'user.reset_password',
        target: userId,
        after: { logout_devices: logoutDevices },
      });
    });
  }

  /** A limit of the user's own; undefined where there is none. @throws MatrixError M_NOT_FOUND, M_UNKNOWN (400) for users of other servers */
  async rateLimit(userId: string): Promise<OwnLimit | undefined> {
    const { messagesBurst, messagesPerSecond } = await this.#options.localAccounts.account(userId);
    return messagesPerSecond === null ? undefined : { perSecond: messagesPerSecond, burst: messagesBurst ?? 0 };
  }

  /**
   * Gives a user a limit of their own, or takes it away.
   *
   * @param limit 0 per second: no limit of any kind holds the user
   * @throws MatrixError M_NOT_FOUND, M_UNKNOWN (400) for users of other servers, M_INVALID_PARAM for what is no number of messages
   */
  async setRateLimit(
    actor: Actor,
    userId: string,
    limit: { readonly perSecond?: unknown; readonly burst?: unknown } | undefined,
  ): Promise<OwnLimit | undefined> {
    const account = await this.#options.localAccounts.account(userId);
    const own = limit && { perSecond: countOf(limit.perSecond), burst: countOf(limit.burst) };
    await this.#change(actor, account, own === undefined ? 'user.default_ratelimit' : 'user.override_ratelimit', {
      messagesPerSecond: own?.perSecond ?? null,
      messagesBurst: own?.burst ?? null,
      rateLimitExempt: own?.perSecond === 0,
    });
    return own;
  }

  /**
   * Lets a user replace the cross-signing keys without saying the password, for ten minutes.
   *
   * @returns until when, in milliseconds since the epoch
   * @throws MatrixError M_NOT_FOUND, for a user without a master key too; M_UNKNOWN (400) for users of other servers
   */
  async allowKeyReplacement(actor: Actor, userId: string): Promise<number> {
    const { auditLog, clock, database, localAccounts } = this.#options;
    localAccounts.assertLocal(userId);
    const keys = await crossSigningKeysOf(database, [userId]);
    if (!keys.some(({ usage }) => usage === 'master'))
      throw new MatrixError('M_NOT_FOUND', 'User has no master cross-signing key');
    const until = clock.now() + REPLACEMENT_MS;
    await database.write(async (tx) => {
      await grantReplacement(tx, userId, until);
      await auditLog.record(tx, actor, {
        action: 'user.allow_key_replacement',
        target: userId,
        after: { until_ts: until },
      });
    });
    return until;
  }

  /**
   * Creates a session in which the administrator acts as a user; the user's device list does not show it.
   *
   * @param validUntil milliseconds since the epoch; null for ever
   * @returns its access token
   * @throws MatrixError M_NOT_FOUND, M_UNKNOWN (400) for users of other servers, oneself, deactivated accounts, and times that are over
   */
  async logInAs(actor: Actor, userId: string, validUntil: number | null): Promise<string> {
    const { auditLog, clock, database, sessions, localAccounts } = this.#options;
    const account = await localAccounts.account(userId);
    const admin = actor.userId;
    if (admin === null) throw new Error('nobody acts as a user at the command line');
    assertNotSelf(actor, userId, 'Cannot use admin API to login as self');
    if (account.deactivated)
      throw new MatrixError('M_UNKNOWN', 'This account is deactivated: nobody can act as its user.');
    if (validUntil !== null && validUntil <= clock.now())
      throw new MatrixError('M_UNKNOWN', 'valid_until_ms is over already.');
    return database.write(async (tx) => {
      const { accessToken, id } = await sessions.logInAs(tx, { admin, userId, expiresTs: validUntil });
      await auditLog.record(tx, actor, {
        action: 'user.login_as',
        target: userId,
        after: { id, valid_until_ms: validUntil },
      });
      return accessToken;
    });
  }

  /** The sessions in which administrators act as a user. @throws MatrixError M_NOT_FOUND, M_UNKNOWN (400) for users of other servers */
  async adminLogins(userId: string): Promise<readonly AdminLoginRecord[]> {
    await this.#options.localAccounts.account(userId);
    return this.#options.sessions.adminLogins(userId);
  }

  /** Ends such a session. @throws MatrixError M_NOT_FOUND, M_UNKNOWN (400) for users of other servers */
  async endAdminLogin(actor: Actor, userId: string, id: string): Promise<void> {
    const { auditLog, sessions, localAccounts } = this.#options;
    await localAccounts.account(userId);
    const isEnded = await sessions.endAdminLogin(userId, id, (tx, { admin }) =>
      auditLog.record(tx, actor, { action: 'user.end_login_as', target: userId, before: { id, admin } }),
    );
    if (!isEnded) throw new MatrixError('M_NOT_FOUND', 'There is no such login.');
  }

  /**
   * The devices of a user and from where they were used, for the user or an administrator. What administrators look at in this way leaves an
   * entry in the audit log: it says where people are.
   *
   * @throws MatrixError M_FORBIDDEN
   */
  async whoIs(
    requester: Pick<Requester, 'userId' | 'isAdmin'>,
    actor: Actor,
    userId: string,
  ): Promise<readonly Device[]> {
    const { auditLog, database, devices, localAccounts } = this.#options;
    const found = await devices.whoIs(requester, userId);
    const isAbout = requester.userId !== userId && (await localAccounts.find(userId)) !== undefined;
    if (isAbout) await database.write((tx) => auditLog.record(tx, actor, { action: 'user.whois', target: userId }));
    return found;
  }

  /** The same for tools. @throws MatrixError M_FORBIDDEN, M_INVALID_PARAM, M_UNKNOWN (400) for users of other servers */
  async whoIsLocal(
    requester: Pick<Requester, 'userId' | 'isAdmin'>,
    actor: Actor,
    userId: string,
  ): Promise<readonly Device[]> {
    if (requester.isAdmin) this.#options.localAccounts.assertLocal(userId);
    return this.whoIs(requester, actor, userId);
  }

  async #change(
    actor: Actor,
    account: Account,
    action: string,
    wanted: AccountChanges,
    also?: (tx: Tx) => Promise<void>,
  ): Promise<void> {
    const { auditLog, database, users } = this.#options;
    const changed = Object.entries(wanted).filter(([name, value]) => account[name as keyof Account] !== value);
    if (changed.length === 0) return;
    const { userId } = account;
    const of = (value: (name: string) => unknown): JsonObject =>
      Object.fromEntries(changed.map(([name]) => [snakeCase(name), value(name)])) as JsonObject;
    await database.write(async (tx) => {
      await users.change(tx, userId, wanted);
      await also?.(tx);
      await auditLog.record(tx, actor, {
        action,
        target: userId,
        before: of((name) => account[name as keyof Account]),
        after: of((name) => wanted[name as keyof AccountChanges]),
      });
    });
  }
}

const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** @throws MatrixError M_INVALID_PARAM */
const countOf = (value: unknown): number => {
  if (value === undefined) return 0;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_PER_SECOND) return value;
  throw new MatrixError('M_INVALID_PARAM', 'messages_per_second and burst_count must be whole numbers, 0 or more.');
};

/** @throws MatrixError M_UNKNOWN (400), as Synapse does */
export const assertNotSelf = (actor: Actor, userId: string, why: string): void => {
  if (actor.userId === userId) throw new MatrixError('M_UNKNOWN', why);
};
