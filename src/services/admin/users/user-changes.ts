import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { OwnAddresses } from '#src/services/accounts/contact/own-addresses.ts';
import type { AccountService } from '#src/services/accounts/sessions/account-service.ts';
import type { AccountThreepids } from '#src/services/accounts/threepids/account-threepids.ts';
import { nameOfNewAccount } from '#src/services/accounts/users/usernames.ts';
import type { Account, UserService } from '#src/services/accounts/users/user-service.ts';
import type { AdminTasks } from '#src/services/admin/tasks/admin-tasks.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { AuditLog } from '#src/services/audit/audit-log.ts';
import type { ProfileService } from '#src/services/user-data/profiles/profile-service.ts';
import type { AccountChanges } from '#src/storage/accounts/accounts.ts';
import { type ExternalId, listExternalIds, replaceExternalIds } from '#src/storage/accounts/external-ids.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import type { ThirdPartyId } from '#src/protocol/identifiers/third-party-id.ts';
import { USER_TYPES } from '#src/services/accounts/users/user-types.ts';
import type { LocalAccounts } from './local-accounts.ts';
import { assertNotSelf } from './user-administration.ts';

/** The task that erases a user; `privacy/erase-user.ts` does it. */
export const ERASURE = { action: 'erase_user' } as const;

/** What an account is to be. What is left out stays as it is. */
export interface UserPatch {
  readonly password?: string | undefined;
  /** Whether all devices are logged out with a new password; they are, when left out. */
  readonly logoutDevices?: boolean | undefined;
  /** Empty or null: none. */
  readonly displayname?: string | null | undefined;
  readonly avatarUrl?: string | null | undefined;
  /** All of them. */
  readonly threepids?: readonly { readonly medium: string; readonly address: string }[] | undefined;
  readonly externalIds?: readonly ExternalId[] | undefined;
  readonly admin?: boolean | undefined;
  readonly deactivated?: boolean | undefined;
  readonly locked?: boolean | undefined;
  readonly userType?: string | null | undefined;
}

export interface UserChangesOptions {
  readonly database: Database;
  readonly serverName: string;
  readonly localAccounts: LocalAccounts;
  readonly users: UserService;
  readonly accounts: AccountService;
  readonly threepids: AccountThreepids;
  readonly ownAddresses: OwnAddresses;
  readonly profiles: ProfileService;
  readonly auditLog: AuditLog;
  readonly tasks: Pick<AdminTasks, 'isOpen'>;
}

/** Sets a field of the profile of the user who is changed. */
type ChangeProfile = (tx: Tx, key: 'displayname' | 'avatar_url', value: string | null) => Promise<void>;
type NewPassword = Awaited<ReturnType<AccountService['passwordByAdmin']>>;

/** What changes, as the audit log has it. */
interface Noted {
  readonly before: Record<string, unknown>;
  readonly after: Record<string, unknown>;
}

/** Creates and changes accounts for administrators: all of a request, or nothing. */
export class UserChanges {
  readonly #options: UserChangesOptions;

  constructor(options: UserChangesOptions) {
    this.#options = options;
  }

  /**
   * Creates an account, or changes it to what is asked for.
   *
   * @returns whether it was made
   * @throws MatrixError M_INVALID_PARAM, M_INVALID_USERNAME, M_BAD_JSON, M_THREEPID_IN_USE, M_THREEPID_MEDIUM_NOT_SUPPORTED,
   *   M_TOO_LARGE; M_UNKNOWN (400) for users of other servers, for what cannot be together and for what administrators do not do to themselves,
   *   (409) for an external id that is another user's
   */
  async put(actor: Actor, userId: string, patch: UserPatch): Promise<{ readonly isNew: boolean }> {
    const { accounts, database, profiles, localAccounts } = this.#options;
    localAccounts.assertLocal(userId);
    assertPossible(actor, userId, patch);
    const { logoutDevices, password } = patch;
    const secret =
      password === undefined
        ? undefined
        : await accounts.passwordByAdmin(password, logoutDevices === false ? 'none' : 'others');
    const account = await localAccounts.find(userId);
    const lost = await profiles.changing(userId, (change) =>
      database.writeAgain((tx) =>
        account === undefined
          ? this.#create(tx, actor, userId, patch, secret, change)
          : this.#modify(tx, actor, account, patch, secret, change),
      ),
    );
    await this.#unbind(userId, lost);
    return { isNew: account === undefined };
  }

  async #create(
    tx: Tx,
    actor: Actor,
    userId: string,
    patch: UserPatch,
    secret: NewPassword | undefined,
    change: ChangeProfile,
  ): Promise<readonly ThirdPartyId[]> {
    const { accounts, auditLog, serverName, users } = this.#options;
    const name = nameOfNewAccount(userId, serverName);
    if (name.userId !== userId)
      throw new MatrixError('M_INVALID_USERNAME', 'The user ids of new accounts have no capitals.');
    const { admin = false, userType = null } = patch;
    await users.create(tx, { ...name, passwordHash: secret?.hash ?? null, admin, userType });
    const noted: Noted = { before: {}, after: { admin, user_type: userType, has_password: secret !== undefined } };
    await this.#setIds(tx, userId, patch, noted);
    await this.#setProfile(tx, patch, { displayname: undefined, avatarUrl: undefined }, change, noted);
    if (patch.locked === true) {
      await users.change(tx, userId, { locked: true });
      noted.after['locked'] = true;
    }
    if (patch.deactivated === true) {
      await accounts.deactivateIn(tx, userId, false);
      noted.after['deactivated'] = true;
    }
    await auditLog.record(tx, actor, { action: 'user.create', target: userId, after: noted.after as JsonObject });
    return [];
  }

  async #modify(
    tx: Tx,
    actor: Actor,
    account: Account,
    patch: UserPatch,
    secret: NewPassword | undefined,
    change: ChangeProfile,
  ): Promise<readonly ThirdPartyId[]> {
    const { accounts, auditLog, profiles, users } = this.#options;
    const { userId } = account;
    const staysEnded = account.deactivated && patch.deactivated !== false;
    if (staysEnded && (patch.threepids ?? []).length > 0)
      throw new MatrixError('M_UNKNOWN', 'This account is deactivated: it has no addresses.');
    if (account.deactivated && patch.deactivated === false && (await this.#options.tasks.isOpen(tx, ERASURE, userId)))
      throw new MatrixError(
        'M_UNKNOWN',
        `${userId} is being erased: the account can be reactivated when that is done.`,
      );
    const noted: Noted = { before: {}, after: {} };
    const lost = await this.#setIds(tx, userId, patch, noted);
    await this.#setProfile(tx, patch, await profiles.profileOf(userId), change, noted);
    const changes = changesOf(account, patch);
    for (const [name, value] of Object.entries(changes)) {
      const member = name === 'userType' ? 'user_type' : name;
      noted.before[member] = account[name as keyof Account];
      noted.after[member] = value;
    }
    if (Object.keys(changes).length > 0) await users.change(tx, userId, changes);
    if (secret !== undefined) {
      await secret.setIn(tx, userId, actor.userId === userId ? actor.deviceId : undefined);
      noted.after['password'] = 'set';
      noted.after['logout_devices'] = patch.logoutDevices ?? true;
    }
    if (patch.deactivated === true && !account.deactivated) {
      await accounts.deactivateIn(tx, userId, false);
      noted.before['deactivated'] = false;
      noted.after['deactivated'] = true;
    }
    if (Object.keys(noted.after).length > 0)
      await auditLog.record(tx, actor, {
        action: 'user.change',
        target: userId,
        before: noted.before as JsonObject,
        after: noted.after as JsonObject,
      });
    return lost;
  }

  /** Sets addresses and ids at identity providers. @returns the addresses that are the user's no longer */
  async #setIds(tx: Tx, userId: string, patch: UserPatch, noted: Noted): Promise<readonly ThirdPartyId[]> {
    const { threepids: wanted, externalIds } = patch;
    let lost: readonly ThirdPartyId[] = [];
    if (wanted !== undefined) {
      const had = (await this.#options.threepids.list(userId)).map(({ address, medium }) => ({ medium, address }));
      lost = await this.#options.threepids.replaceIn(tx, userId, wanted);
      if (had.length > 0 || wanted.length > 0) {
        noted.before['threepids'] = had;
        noted.after['threepids'] = wanted.map(({ address, medium }) => ({ medium, address }));
      }
    }
    if (externalIds === undefined) return lost;
    const had = await listExternalIds(tx, userId);
    if (!(await replaceExternalIds(tx, userId, externalIds)))
      throw new MatrixError('M_UNKNOWN', 'External id is already in use.', {}, 409);
    if (had.length > 0 || externalIds.length > 0) {
      noted.before['external_ids'] = had;
      noted.after['external_ids'] = externalIds;
    }
    return lost;
  }

  async #setProfile(
    tx: Tx,
    { avatarUrl, displayname }: UserPatch,
    before: { readonly displayname: string | undefined; readonly avatarUrl: string | undefined },
    change: ChangeProfile,
    noted: Noted,
  ): Promise<void> {
    for (const [key, value, had] of [
      ['displayname', displayname, before.displayname],
      ['avatar_url', avatarUrl, before.avatarUrl],
    ] as const) {
      if (value === undefined || (value ?? '') === (had ?? '')) continue;
      await change(tx, key, value);
      noted.before[key] = had ?? null;
      noted.after[key] = value === '' ? null : value;
    }
  }

  /** Identity servers forget addresses that are the user's no longer. They are gone here in any case. */
  async #unbind(userId: string, lost: readonly ThirdPartyId[]): Promise<void> {
    for (const { address, medium } of lost)
      await this.#options.ownAddresses.unbind({ userId }, medium, address).catch((error: unknown) => {
        if (!(error instanceof MatrixError)) throw error;
      });
  }
}

/** @throws MatrixError M_UNKNOWN (400) */
const assertPossible = (actor: Actor, userId: string, patch: UserPatch): void => {
  const { admin, deactivated, locked, userType } = patch;
  if (deactivated === true && locked === true)
    throw new MatrixError('M_UNKNOWN', 'An account cannot be both deactivated and locked.');
  if (typeof userType === 'string' && !USER_TYPES.includes(userType))
    throw new MatrixError('M_UNKNOWN', 'Invalid user type');
  if (admin === false) assertNotSelf(actor, userId, 'You may not demote yourself.');
  if (deactivated === true || locked === true)
    assertNotSelf(actor, userId, 'Administrators do not lock or deactivate their own accounts: ask another one.');
};

/** Changes of the account itself. Its deactivation is not one of them. */
const changesOf = (account: Account, { admin, deactivated, locked, userType }: UserPatch): AccountChanges => ({
  ...(admin === undefined || admin === account.admin ? {} : { admin }),
  ...(locked === undefined || locked === account.locked ? {} : { locked }),
  ...(userType === undefined || userType === account.userType ? {} : { userType }),
  ...(deactivated === false && account.deactivated
    ? { deactivated: false, ...(account.erased ? { erased: false } : {}) }
    : {}),
});
