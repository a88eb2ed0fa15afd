import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { Device, DeviceService } from '#src/services/accounts/devices/device-service.ts';
import type { AccountThreepids } from '#src/services/accounts/threepids/account-threepids.ts';
import type { Account } from '#src/services/accounts/users/user-service.ts';
import type { PusherRecord, PusherService } from '#src/services/push/pushers/pusher-service.ts';
import { type Membership, membershipOfCode } from '#src/services/room-model/room/membership.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import type { ProfileService } from '#src/services/user-data/profiles/profile-service.ts';
import { type AcceptedTerms, listAcceptedTerms } from '#src/storage/accounts/accepted-terms.ts';
import type { AccountThreepidRecord } from '#src/storage/accounts/account-threepids.ts';
import { type ExternalId, listExternalIds } from '#src/storage/accounts/external-ids.ts';
import type { Database } from '#src/storage/database.ts';
import { findDehydratedDevice } from '#src/storage/e2ee/dehydrated-devices.ts';
import {
  countInvitesSent,
  countRoomsJoined,
  joinedRoomsOfUser,
  membershipsOfUser,
} from '#src/storage/room-model/memberships-of-user.ts';
import { roomIdsByNid } from '#src/storage/room-model/room-ids.ts';
import { assertUserId, type LocalAccounts } from './local-accounts.ts';

/** All details of one account, for administrators. */
export interface UserDetails {
  readonly account: Account;
  readonly displayname: string | undefined;
  readonly avatarUrl: string | undefined;
  readonly threepids: readonly AccountThreepidRecord[];
  readonly externalIds: readonly ExternalId[];
  /** The document that was accepted last. */
  readonly consent: AcceptedTerms | undefined;
  /** Milliseconds since the epoch. */
  readonly lastSeenTs: number | null;
}

export interface AccountDataOfUser {
  /** Contents by type. */
  readonly global: Readonly<Record<string, JsonObject>>;
  /** The same by room id. */
  readonly rooms: Readonly<Record<string, Readonly<Record<string, JsonObject>>>>;
}

export interface UserReadsOptions {
  readonly database: Database;
  readonly localAccounts: LocalAccounts;
  readonly devices: DeviceService;
  readonly threepids: AccountThreepids;
  readonly profiles: ProfileService;
  readonly accountData: AccountDataService;
  readonly pushers: PusherService;
}

/** Types of account data that are stored in tables of their own. */
const OWN_FORM: ReadonlySet<string> = new Set(['m.push_rules', 'm.tag']);

/** Reads what administrators ask about users. */
export class UserReads {
  readonly #options: UserReadsOptions;

  constructor(options: UserReadsOptions) {
    this.#options = options;
  }

  /** @throws MatrixError M_NOT_FOUND, M_INVALID_PARAM, M_UNKNOWN for a user of another server */
  async details(userId: string): Promise<UserDetails> {
    const { database, profiles, localAccounts, threepids } = this.#options;
    const account = await localAccounts.account(userId);
    const [profile, addresses, externalIds, terms, devices] = await Promise.all([
      profiles.profileOf(userId),
      threepids.list(userId),
      listExternalIds(database, userId),
      database.read((tx) => listAcceptedTerms(tx, userId)),
      this.#options.devices.list(userId),
    ]);
    const seen = devices.flatMap(({ lastSeenTs }) => lastSeenTs ?? []);
    return {
      account,
      displayname: profile.displayname,
      avatarUrl: profile.avatarUrl,
      threepids: addresses,
      externalIds,
      consent: terms.at(-1),
      lastSeenTs: seen.length === 0 ? null : Math.max(...seen),
    };
  }

  /** Whether a local user is an administrator; false where there is no such user. @throws MatrixError M_INVALID_PARAM, M_UNKNOWN */
  async isAdmin(userId: string): Promise<boolean> {
    const { localAccounts } = this.#options;
    localAccounts.assertLocal(userId);
    return (await localAccounts.find(userId))?.admin === true;
  }

  /** The devices of a user, in the order in which they were made; which of them is a dehydrated one. @throws MatrixError as `details` */
  async devices(
    userId: string,
  ): Promise<{ readonly devices: readonly Device[]; readonly dehydrated: string | undefined }> {
    const { database, localAccounts } = this.#options;
    await localAccounts.account(userId);
    const [devices, dehydrated] = await Promise.all([
      this.#options.devices.list(userId),
      findDehydratedDevice(database, userId),
    ]);
    return { devices, dehydrated: dehydrated?.deviceId };
  }

  /** @throws MatrixError as `details`, M_NOT_FOUND for an unknown device too */
  async device(userId: string, deviceId: string): Promise<Device> {
    await this.#options.localAccounts.account(userId);
    return this.#options.devices.get(userId, deviceId);
  }

  /** The rooms in which a user of any server is. @throws MatrixError M_INVALID_PARAM */
  async joinedRooms(userId: string): Promise<readonly string[]> {
    assertUserId(userId);
    return joinedRoomsOfUser(this.#options.database, userId);
  }

  /** The membership of a user of any server in every room where there is or was one. @throws MatrixError M_INVALID_PARAM */
  async memberships(userId: string): Promise<Readonly<Record<string, Membership>>> {
    assertUserId(userId);
    const rows = await membershipsOfUser(this.#options.database, userId);
    return Object.fromEntries(rows.map(({ membership, roomId }) => [roomId, membershipOfCode(membership)]));
  }

  /** Without what the server keeps in a form of its own: push rules and tags. @throws MatrixError as `details` */
  async accountData(userId: string): Promise<AccountDataOfUser> {
    const { accountData, database, localAccounts } = this.#options;
    await localAccounts.account(userId);
    const entries = (await accountData.load(userId)).entries().filter(({ type }) => !OWN_FORM.has(type));
    const roomIds = await roomIdsByNid(database, [...new Set(entries.map(({ roomNid }) => roomNid))]);
    const global: Record<string, JsonObject> = {};
    const rooms: Record<string, Record<string, JsonObject>> = {};
    for (const { json, roomNid, type } of entries) {
      const roomId = roomIds.get(roomNid);
      const place = roomNid === 0 ? global : roomId === undefined ? undefined : (rooms[roomId] ??= {});
      if (place !== undefined) place[type] = JSON.parse(json) as JsonObject;
    }
    return { global, rooms };
  }

  /** @throws MatrixError as `details` */
  async pushers(userId: string): Promise<readonly PusherRecord[]> {
    await this.#options.localAccounts.account(userId);
    return this.#options.pushers.list(userId);
  }

  /** How many invites a user has sent since a time, in milliseconds since the epoch. @throws MatrixError M_INVALID_PARAM */
  async invitesSent(userId: string, since: number): Promise<number> {
    assertUserId(userId);
    return countInvitesSent(this.#options.database, userId, since);
  }

  /** How many rooms a user has joined since a time, left ones included. @throws MatrixError M_INVALID_PARAM */
  async roomsJoined(userId: string, since: number): Promise<number> {
    assertUserId(userId);
    return countRoomsJoined(this.#options.database, userId, since);
  }
}
