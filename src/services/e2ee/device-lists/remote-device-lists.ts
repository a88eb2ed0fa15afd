import { Ongoing } from '#src/kernel/concurrency/background.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import { isUserIdOf } from '#src/protocol/identifiers/identifiers.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import {
  crossSigningKey,
  isStreamId,
  MAX_REMOTE_DEVICES,
  type RemoteDevice,
  remoteDevice,
  type UserDevicesApi,
} from '#src/remote/federation/user-devices-api.ts';
import type { RemoteUserKeys } from '#src/remote/federation/user-keys-api.ts';
import type { FollowedEvent } from '#src/services/events/stream/followed-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import {
  countRemoteDevices,
  deleteRemoteDevice,
  dropUnsharedDeviceLists,
  dropUnsharedDeviceListsOfRoom,
  lockRemoteDeviceList,
  markRemoteDeviceListsStale,
  putRemoteDeviceList,
  putRemoteDevices,
  type RemoteDeviceListRecord,
  type RemoteDeviceRecord,
  remoteDeviceLists,
  remoteDevicesOf,
  replaceRemoteDevices,
} from '#src/storage/federation/remote-device-lists.ts';
import { sharingUsers } from '#src/storage/federation/sharing.ts';
import type { DeviceListChanges } from './device-list-changes.ts';

const RESYNC_MS = 30_000;
/** Lists that are fetched again at the same time, because something is missing in them. */
export const MAX_RESYNCING = 50;
/** Ids that an update may name as those before it. */
const MAX_PREVIOUS = 100;

/** The keys of users of other servers, as far as they are known here. */
export interface KnownRemoteKeys {
  /** With the devices' names in `unsigned`. */
  readonly keys: RemoteUserKeys;
  /** Users whose list is to be asked for, and kept from then on. */
  readonly wanted: readonly string[];
  /** Users whose lists are not kept, since they share no room with ours: their server is asked whenever a client wants their keys. */
  readonly unknown: readonly string[];
}

const NO_KEYS: RemoteUserKeys = { deviceKeys: {}, masterKeys: {}, selfSigningKeys: {} };

export interface RemoteDeviceListsOptions {
  readonly database: Database;
  readonly api: Pick<UserDevicesApi, 'devices'>;
  readonly changes: DeviceListChanges;
  readonly logger: Logger;
}

/**
 * The device lists of remote users who share a room with ours: fetched once, and kept up to date by `m.device_list_update`. A list in
 * which something may be missing is fetched again; users who share no room any more are forgotten, since their server no longer sends changes.
 * Server-Server API, "Device Management".
 */
export class RemoteDeviceLists {
  readonly #options: RemoteDeviceListsOptions;
  readonly #asking = new OnceByKey<string, boolean>();
  /** Lists that are being asked for, of which something was told meanwhile. */
  readonly #outdated = new Map<string, boolean>();
  readonly #resyncing = new Ongoing<string>();

  constructor(options: RemoteDeviceListsOptions) {
    this.#options = options;
  }

  /** The stored keys of users of any servers. No server is asked. */
  async known(userIds: readonly string[]): Promise<KnownRemoteKeys> {
    const { database } = this.#options;
    if (userIds.length === 0) return { keys: NO_KEYS, wanted: [], unknown: [] };
    const lists = (await remoteDeviceLists(database, userIds)).filter(({ stale }) => !stale);
    const here = new Set(lists.map(({ userId }) => userId));
    const others = userIds.filter((userId) => !here.has(userId));
    const [devices, sharing] = await Promise.all([
      here.size === 0 ? [] : remoteDevicesOf(database, [...here]),
      sharingUsers(database, others),
    ]);
    return {
      keys: keysOf(lists, devices),
      wanted: others.filter((userId) => sharing.has(userId)),
      unknown: others.filter((userId) => !sharing.has(userId)),
    };
  }

  /**
   * Asks for the lists of users who share a room with ours, and keeps them.
   *
   * @param userIds of one server
   * @param timeoutMs how long the server is waited for
   */
  async ask(userIds: readonly string[], timeoutMs: number): Promise<KnownRemoteKeys> {
    const asked = await Promise.all(
      userIds.slice(0, MAX_RESYNCING).map(async (userId) => ((await this.#ask(userId, timeoutMs)) ? userId : [])),
    );
    const { keys } = await this.known(asked.flat());
    return { keys, wanted: [], unknown: userIds.filter((userId) => keys.deviceKeys[userId] === undefined) };
  }

  /** Receives the `m.device_list_update` of a transaction. Those of users who share no room with ours are dropped. */
  async receiveUpdates(origin: string, contents: readonly JsonObject[]): Promise<void> {
    const updates = contents.flatMap((content) => deviceListUpdate(origin, content) ?? []);
    const sharing = await sharingUsers(this.#options.database, [...new Set(updates.map(({ userId }) => userId))]);
    for (const update of updates) if (sharing.has(update.userId)) await this.#receiveUpdate(update);
  }

  async #receiveUpdate({ device, isDeleted, previous, streamId, userId }: DeviceListUpdate): Promise<void> {
    const isMissing = await this.#change(userId, async (tx, list) => {
      if (list.stale || streamId <= list.streamId) return list;
      const follows = previous.includes(list.streamId) && previous.every((id) => id <= list.streamId);
      const isTooMany = (await countRemoteDevices(tx, userId, device.deviceId)) >= MAX_REMOTE_DEVICES;
      if (!follows || isTooMany) return { ...list, stale: true };
      if (isDeleted) await deleteRemoteDevice(tx, userId, device.deviceId);
      else await putRemoteDevices(tx, userId, [rowOf(device)]);
      return { ...list, streamId };
    });
    if (isMissing) this.#resync(userId);
  }

  /** Receives the `m.signing_key_update` of a transaction. Those of users who share no room with ours are dropped. */
  async receiveSigningKeys(origin: string, contents: readonly JsonObject[]): Promise<void> {
    const updates = contents.flatMap((content) => {
      const { user_id: userId } = content;
      return isUserIdOf(origin, userId) ? { userId, content } : [];
    });
    const sharing = await sharingUsers(this.#options.database, [...new Set(updates.map(({ userId }) => userId))]);
    for (const { content, userId } of updates) if (sharing.has(userId)) await this.#receiveSigningKeys(userId, content);
  }

  async #receiveSigningKeys(userId: string, content: JsonObject): Promise<void> {
    const master = crossSigningKey(content['master_key'], 'master', userId);
    const selfSigning = crossSigningKey(content['self_signing_key'], 'self_signing', userId);
    const isMissing = await this.#change(userId, (_tx, list) =>
      Promise.resolve({
        ...list,
        masterKey: master === undefined ? list.masterKey : JSON.stringify(master),
        selfSigningKey: selfSigning === undefined ? list.selfSigningKey : JSON.stringify(selfSigning),
      }),
    );
    if (isMissing) this.#resync(userId);
  }

  /** Follows leaves: deletes the lists of users who share no room with ours any more. */
  async take(events: readonly FollowedEvent[]): Promise<void> {
    const { database } = this.#options;
    const left = new Set<string>();
    const rooms = new Set<number>();
    for (const { room, event } of events) {
      const { content, stateKey } = event;
      if (event.type !== 'm.room.member' || stateKey === undefined || content['membership'] === 'join') continue;
      const member = room.member(stateKey);
      if (member?.local === false) left.add(stateKey);
      else if (![...room.members.values()].some(({ local, membership }) => local && membership === 'join'))
        rooms.add(room.nid);
    }
    if (left.size > 0) {
      // Users who are back already may have changed something in between.
      await markRemoteDeviceListsStale(database, [...left]);
      await dropUnsharedDeviceLists(database, [...left]);
    }
    for (const room of rooms) await dropUnsharedDeviceListsOfRoom(database, room);
  }

  /** Drops what is kept of users who turned out not to be in a room, and share no other one with ours. */
  async review(room: Pick<Room, 'nid'>): Promise<void> {
    await dropUnsharedDeviceListsOfRoom(this.#options.database, room.nid);
  }

  /** Resolves when nothing is being asked for. */
  idle(): Promise<void> {
    return this.#resyncing.idle();
  }

  /**
   * Changes a stored list, and announces it to local users who share a room with the user.
   *
   * @returns whether something is missing in it
   */
  async #change(
    userId: string,
    change: (tx: Tx, list: RemoteDeviceListRecord) => Promise<RemoteDeviceListRecord>,
  ): Promise<boolean> {
    const { changes, database } = this.#options;
    if (this.#outdated.has(userId)) this.#outdated.set(userId, true);
    return database.write(async (tx) => {
      const list = await lockRemoteDeviceList(tx, userId);
      const after = list === undefined ? undefined : await change(tx, list);
      if (after !== undefined && after !== list) await putRemoteDeviceList(tx, after);
      // An update that was received before is no news, unless the list is not stored here: clients that have it got it by their own query.
      if (list === undefined || after !== list || list.stale) await changes.mark(tx, userId);
      return after?.stale === true;
    });
  }

  /** Asks for a list in the background. One that cannot be had now is asked for when a client wants it. */
  #resync(userId: string): void {
    if (this.#resyncing.size >= MAX_RESYNCING) return;
    this.#resyncing.add(
      userId,
      this.#ask(userId, RESYNC_MS).then(
        () => undefined,
        (err: unknown) =>
          this.#options.logger.error('the device list of a remote user could not be stored', { user_id: userId, err }),
      ),
    );
  }

  /** Fetches a list, and stores it. @returns false when that failed */
  #ask(userId: string, timeoutMs: number): Promise<boolean> {
    return this.#asking.run(userId, async () => {
      try {
        for (let attempt = 0; attempt < 2; attempt++) {
          this.#outdated.set(userId, false);
          if (!(await this.#askOnce(userId, timeoutMs))) return false;
          if (this.#outdated.get(userId) !== true) return true;
        }
        // It changes faster than it can be fetched: the next query fetches it again.
        await markRemoteDeviceListsStale(this.#options.database, [userId]);
        return true;
      } finally {
        this.#outdated.delete(userId);
      }
    });
  }

  async #askOnce(userId: string, timeoutMs: number): Promise<boolean> {
    const { api, changes, database } = this.#options;
    const answer = await api.devices(domainOf(userId) ?? '', userId, timeoutMs);
    if (!answer.ok) return false;
    const { devices, masterKey, selfSigningKey, streamId } = answer;
    await database.write(async (tx) => {
      const before = await lockRemoteDeviceList(tx, userId);
      await putRemoteDeviceList(tx, {
        userId,
        streamId,
        stale: false,
        masterKey: masterKey === undefined ? null : JSON.stringify(masterKey),
        selfSigningKey: selfSigningKey === undefined ? null : JSON.stringify(selfSigningKey),
      });
      await replaceRemoteDevices(tx, userId, devices.map(rowOf));
      if (before !== undefined) await changes.mark(tx, userId);
    });
    return true;
  }
}

/** The content of an `m.device_list_update`. */
interface DeviceListUpdate {
  readonly userId: string;
  readonly device: RemoteDevice;
  readonly isDeleted: boolean;
  readonly streamId: number;
  readonly previous: readonly number[];
}

/** @returns undefined when it is malformed, or about a user of another server than the one that sent it */
const deviceListUpdate = (origin: string, content: JsonObject): DeviceListUpdate | undefined => {
  const { deleted, prev_id: previous = [], stream_id: streamId, user_id: userId } = content;
  if (!isUserIdOf(origin, userId) || !isStreamId(streamId)) return undefined;
  if (!Array.isArray(previous) || previous.length > MAX_PREVIOUS || !previous.every(isStreamId)) return undefined;
  const device = remoteDevice(userId, content);
  return device === undefined ? undefined : { userId, device, isDeleted: deleted === true, streamId, previous };
};

const rowOf = ({
  deviceId,
  displayName,
  keys,
}: RemoteDevice): { readonly deviceId: string; readonly displayName: string | null; readonly keys: string | null } => ({
  deviceId,
  displayName: displayName ?? null,
  keys: keys === undefined ? null : JSON.stringify(keys),
});

const keysOf = (lists: readonly RemoteDeviceListRecord[], devices: readonly RemoteDeviceRecord[]): RemoteUserKeys => {
  const deviceKeys: Record<string, Record<string, JsonObject>> = {};
  for (const { userId } of lists) deviceKeys[userId] = {};
  for (const { deviceId, displayName, keys, userId } of devices) {
    if (keys === null) continue;
    const unsigned = displayName === null ? {} : { device_display_name: displayName };
    (deviceKeys[userId] ??= {})[deviceId] = { ...(JSON.parse(keys) as JsonObject), unsigned };
  }
  return {
    deviceKeys,
    masterKeys: keysByUser(lists, ({ masterKey }) => masterKey),
    selfSigningKeys: keysByUser(lists, ({ selfSigningKey }) => selfSigningKey),
  };
};

const keysByUser = (
  lists: readonly RemoteDeviceListRecord[],
  keyOf: (list: RemoteDeviceListRecord) => string | null,
): Record<string, JsonObject> =>
  Object.fromEntries(
    lists.flatMap((list) => {
      const key = keyOf(list);
      return key === null ? [] : [[list.userId, JSON.parse(key) as JsonObject] as const];
    }),
  );
