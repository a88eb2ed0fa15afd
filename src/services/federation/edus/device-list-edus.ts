import { hash } from 'node:crypto';
import { shareDevices } from '#src/jobs/definitions.ts';
import { requestJob } from '#src/jobs/job-definition.ts';
import { Background } from '#src/kernel/background.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import { ORIGIN, type PositionVector } from '#src/protocol/wire/position.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { KeyQuery } from '#src/services/e2ee/device-keys/key-query.ts';
import type { FollowUp } from '#src/services/events/building/follow-ups.ts';
import type { DeviceListChanges } from '#src/services/e2ee/device-lists/device-list-changes.ts';
import { type Edu, type EduSource, NO_EDUS, type TakenEdus } from '#src/services/federation/outbound/edu-source.ts';
import type { Database } from '#src/storage/database.ts';
import { cursorsAt, followerCursors, saveFollowerCursors } from '#src/storage/events/event-followers.ts';
import { devicesWithoutKeys } from '#src/storage/e2ee/device-keys.ts';
import {
  addDestinationDeviceLists,
  awaitFirstToldDevices,
  destinationsOfDeviceLists,
  forgetDestinationDeviceLists,
  lockToldDevices,
  newestDeviceStreamId,
  nextDestinationDeviceLists,
  tellDevices,
  type PendingDeviceList,
  type ToldDevice,
  toldDestinationDeviceLists,
  toldDevicesAfter,
  toldDevicesOf,
  usersWithUntoldDevices,
} from '#src/storage/federation/told-devices.ts';
import type { SharingServers } from './sharing-servers.ts';

/** Under which it remembers how far it came. */
const NAME = 'federation_device_lists';
const RETRY_MS = 1_000;
const USERS_AT_ONCE = 100;
/** Notes for a server and a user that are written at once, and of so many users at least one. */
const NOTES_AT_ONCE = 5_000;
/** Deleted devices of a user that are remembered as announced to other servers. */
const KEPT_DELETED = 100;
/** Stands for the cross-signing keys of a user. */
const CROSS_SIGNING = '';

/** The devices of a user, as other servers ask for them. Server-Server API, `GET /user/devices/{userId}`. */
export interface UserDevices {
  readonly user_id: string;
  readonly stream_id: number;
  readonly devices: readonly {
    readonly device_id: string;
    /** Not for a device without keys, as in `m.device_list_update`. */
    readonly keys?: JsonObject;
    readonly device_display_name?: string;
  }[];
  readonly master_key?: JsonObject;
  readonly self_signing_key?: JsonObject;
}

export interface DeviceListEdusOptions {
  readonly database: Database;
  readonly writer: Writer;
  readonly changes: DeviceListChanges;
  readonly keys: Pick<KeyQuery, 'local'>;
  readonly servers: SharingServers;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly isLocal: (userId: string) => boolean;
  readonly allows: (serverName: string) => boolean;
  readonly wake: (destination: string) => void;
}

/**
 * "[EDUs] must be sent [...] when that user joins a room which contains servers which are not already receiving updates for that user's
 * device list". Of a room that comes with the join it is known only afterwards who is in it: the import asks for the job.
 */
export const devicesFollowUp: FollowUp = ({ room, members }) =>
  members.flatMap(({ after, before, local, userId }) =>
    local && after === 'join' && before !== 'join' && room.remoteServers().length > 0
      ? [requestJob(shareDevices, { room: room.nid, userId })]
      : [],
  );

/** What other servers see of a user's devices and keys. */
interface Keys {
  /** With the devices' names in `unsigned`; those without keys have nothing else. */
  readonly devices: ReadonlyMap<string, JsonObject>;
  readonly master: JsonObject | undefined;
  readonly selfSigning: JsonObject | undefined;
}

/**
 * Sends `m.device_list_update` for each changed device of local users, in order: each update names the one before it, so that a server that
 * missed one notices. What changed is computed once for each change, from what was sent last; for each server the users are stored whose
 * updates it has not got yet. Server-Server API, "Device Management".
 */
export class DeviceListEdus implements EduSource {
  readonly #options: DeviceListEdusOptions;
  /** Servers for which updates may wait. */
  readonly #waiting = new Set<string>();
  /** Users whose devices changed. */
  readonly #changed = new Set<string>();
  readonly #publishing: Background;
  #retry: Timer | undefined;
  #reached: PositionVector = ORIGIN;

  constructor(options: DeviceListEdusOptions) {
    this.#options = options;
    this.#publishing = new Background(
      'federation device lists',
      () => this.#publishAll(),
      (err) => {
        options.logger.error('changes of devices could not be handed to other servers; trying again', { err });
        this.#retry = options.timers.after(RETRY_MS, () => this.#publishing.wake());
      },
    );
    options.changes.changed.subscribe(({ userId, seenBy }) => {
      if (seenBy !== undefined || !options.isLocal(userId)) return;
      this.#changed.add(userId);
      this.#publishing.wake();
    });
  }

  /** Finds what changed and was not handed on by the process before. */
  async start(): Promise<void> {
    const { changes, database, isLocal, writer } = this.#options;
    const committed = writer.committed();
    const cursors = new Map((await followerCursors(database, NAME)).map(({ shard, pos }) => [shard, pos]));
    this.#reached = committed.map((position, shard) => (cursors.size === 0 ? position : (cursors.get(shard) ?? 0)));
    if (cursors.size === 0) await saveFollowerCursors(database, NAME, cursorsAt(committed));
    for (const { userId, seenBy } of await changes.between(this.#reached, committed))
      if (seenBy === undefined && isLocal(userId)) this.#changed.add(userId);
    this.#publishing.wake();
  }

  /** The devices of a user of this server; undefined for others. */
  async devicesOf(userId: string): Promise<UserDevices | undefined> {
    if (!this.#options.isLocal(userId)) return undefined;
    // A change while we read is sent afterwards, with a greater stream id than this one.
    const streamId = await newestDeviceStreamId(this.#options.database, userId);
    const { devices, master, selfSigning } = (await this.#keysOf([userId]))(userId);
    return {
      user_id: userId,
      stream_id: streamId,
      devices: Array.from(devices, ([deviceId, device]) => ({
        device_id: deviceId,
        ...keysIn(device),
        ...nameOf(device),
      })),
      ...(master === undefined ? {} : { master_key: master }),
      ...(selfSigning === undefined ? {} : { self_signing_key: selfSigning }),
    };
  }

  /** Has all devices of local users sent to servers that share a room with them, and did not get their updates. */
  tell(userIds: readonly string[], destinations: readonly string[]): Promise<void> {
    return this.#tell(userIds, destinations, false);
  }

  async #tell(userIds: readonly string[], destinations: readonly string[], withoutKeys: boolean): Promise<void> {
    const { allows, database, servers, wake } = this.#options;
    const allowed = destinations.filter((server) => allows(server));
    if (allowed.length === 0) return;
    const page = Math.max(1, Math.floor(NOTES_AT_ONCE / allowed.length));
    for (let from = 0; from < userIds.length; from += page) {
      const some = userIds.slice(from, from + page);
      // While no server shared a room with them nothing was noted of devices without keys.
      const untold = await usersWithUntoldDevices(database, some, withoutKeys);
      const serversOf = await servers.of(untold);
      for (const userId of untold) await this.#publish(userId, [...serversOf(userId)]);
      const added = await database.writeAgain(async (tx) => {
        // What is worked out for the first time just now is nothing yet, and was to be told to others.
        await awaitFirstToldDevices(tx, some);
        return addDestinationDeviceLists(tx, allowed, some, 0);
      });
      for (const destination of added) {
        this.#waiting.add(destination);
        wake(destination);
      }
    }
  }

  /**
   * Sends all devices of a user to the servers of a room that they have joined. Of a user without any keys nobody needs them at once: where it is not
   * known yet who is in the room, they are told when something changes.
   */
  async shareWith(roomNid: number, userId: string): Promise<void> {
    const { servers } = this.#options;
    await this.#tell([userId], await servers.broughtBy(roomNid, userId), await servers.knowsMembersOf(roomNid));
  }

  async kept(): Promise<readonly string[]> {
    const destinations = await destinationsOfDeviceLists(this.#options.database);
    for (const destination of destinations) this.#waiting.add(destination);
    return destinations;
  }

  has(destination: string): boolean {
    return this.#waiting.has(destination);
  }

  async take(destination: string, limit: number, characters: number): Promise<TakenEdus> {
    // Whatever comes while it is read adds it again.
    if (!this.#waiting.delete(destination)) return NO_EDUS;
    try {
      const taken = await this.#read(destination, limit, characters);
      // Until it is noted that these arrived, they wait.
      if (taken !== NO_EDUS) this.#waiting.add(destination);
      return taken;
    } catch (error) {
      this.#waiting.add(destination);
      throw error;
    }
  }

  async #read(destination: string, limit: number, characters: number): Promise<TakenEdus> {
    const { database } = this.#options;
    // For some users there may be nothing to send any more: others wait behind them.
    for (;;) {
      const lists = await nextDestinationDeviceLists(database, destination, Math.min(limit, USERS_AT_ONCE));
      if (lists.length === 0) return NO_EDUS;
      const taken = await this.#edusOf(destination, lists, limit, characters);
      if (taken.edus.length > 0) return taken;
      await taken.delivered();
    }
  }

  async #edusOf(
    destination: string,
    lists: readonly PendingDeviceList[],
    limit: number,
    characters: number,
  ): Promise<TakenEdus> {
    const { database } = this.#options;
    const rows = await toldDevicesAfter(database, lists);
    const keysOf = await this.#keysOf(lists.map(({ userId }) => userId));
    const edus: Edu[] = [];
    const identity: string[] = [];
    const told = new Map<string, number>(lists.map(({ userId, after }) => [userId, after]));
    const previous = new Map<string, number>(told);
    // Deleted devices as well: a server that is sent all devices may know them, from before or from a transaction whose answer was lost.
    let left = characters;
    for (const row of rows) {
      const { deviceId, streamId, userId } = row;
      const edu = eduOf(userId, row, previous.get(userId) ?? 0, keysOf(userId));
      left -= JSON.stringify(edu.content).length;
      if (edus.length >= limit || (edus.length > 0 && left < 0)) break;
      told.set(userId, streamId);
      edus.push(edu);
      if (deviceId !== CROSS_SIGNING) previous.set(userId, streamId);
      identity.push(`${userId} ${deviceId} ${streamId}`);
    }
    const delivered = (): Promise<void> =>
      toldDestinationDeviceLists(
        database,
        destination,
        Array.from(told, ([userId, upTo]) => ({ userId, upTo })),
      );
    return { edus, identity, holdsEventsBack: false, delivered };
  }

  /** The user whose update comes first is taken for one of whom the server was told everything. */
  async skip(destination: string): Promise<void> {
    const { database } = this.#options;
    const [first] = await nextDestinationDeviceLists(database, destination, 1);
    if (first === undefined) return;
    const upTo = await newestDeviceStreamId(database, first.userId);
    await toldDestinationDeviceLists(database, destination, [{ userId: first.userId, upTo }]);
  }

  /** What is noted is a number for each user. */
  away(): void {
    // Nothing is dropped.
  }

  async forget(destination: string): Promise<void> {
    this.#waiting.delete(destination);
    await forgetDestinationDeviceLists(this.#options.database, destination);
  }

  /** Resolves when what changed is handed on. */
  idle(): Promise<void> {
    return this.#publishing.idle();
  }

  async close(): Promise<void> {
    await this.#publishing.close();
    // What failed meanwhile would be tried again.
    this.#retry?.cancel();
  }

  async #publishAll(): Promise<void> {
    const { database, servers, writer } = this.#options;
    // The change that woke this counts as committed only after those who listen were told.
    await Promise.resolve();
    // What changes from now on comes again.
    const committed = writer.committed();
    while (this.#changed.size > 0 && !this.#publishing.isClosed) {
      const userIds = [...this.#changed].slice(0, USERS_AT_ONCE);
      // A change while this is read comes again.
      for (const userId of userIds) this.#changed.delete(userId);
      try {
        const changesOfUsers = await this.#changesOf(userIds);
        if (changesOfUsers.size === 0) continue;
        const serversOf = await servers.of([...changesOfUsers.keys()]);
        // All who register have a device without keys: it costs no transaction while there is nobody to be told of it.
        const news = Array.from(changesOfUsers, ([userId, hasKeys]) =>
          hasKeys || serversOf(userId).size > 0 ? userId : [],
        ).flat();
        for (const userId of news) await this.#publish(userId, [...serversOf(userId)]);
        // A server that came to share a room meanwhile may have got all that there was before the change.
        const later = await servers.of(news);
        for (const userId of news) {
          const before = serversOf(userId);
          await this.tell(
            [userId],
            [...later(userId)].filter((server) => !before.has(server)),
          );
        }
      } catch (error) {
        for (const userId of userIds) this.#changed.add(userId);
        throw error;
      }
    }
    if (this.#changed.size > 0) return;
    const moved = cursorsAt(committed).filter(({ shard, pos }) => pos > (this.#reached[shard] ?? 0));
    if (moved.length > 0) await saveFollowerCursors(database, NAME, moved);
    this.#reached = committed;
  }

  /** The users with something that no server was told, and whether it is more than devices without keys. */
  async #changesOf(userIds: readonly string[]): Promise<ReadonlyMap<string, boolean>> {
    const told = await toldDevicesAfter(
      this.#options.database,
      userIds.map((userId) => ({ userId, after: 0 })),
    );
    const before = Map.groupBy(told, ({ userId }) => userId);
    const keysOf = await this.#keysOf(userIds);
    const found = new Map<string, boolean>();
    for (const userId of userIds) {
      const keys = keysOf(userId);
      const changes = changesOf(before.get(userId) ?? [], keys);
      if (changes.length > 0)
        found.set(
          userId,
          changes.some((change) => concernsKeys(change, keys)),
        );
    }
    return found;
  }

  /** Computes what changed of a user's devices, and for which servers the update waits. */
  async #publish(userId: string, sharing: readonly string[]): Promise<void> {
    const { allows, database, servers, wake } = this.#options;
    const destinations = await database.write(async (tx) => {
      await lockToldDevices(tx, userId);
      const before = await toldDevicesOf(tx, userId);
      const changes = changesOf(before, (await this.#keysOf([userId]))(userId));
      if (changes.length === 0) return [];
      // A server that came to share a room meanwhile was to be told of nothing.
      const now = before.length > 0 ? sharing : (await servers.of([userId]))(userId);
      const told = [...now].filter((server) => allows(server));
      await tellDevices(tx, userId, changes, KEPT_DELETED);
      const after = Math.max(
        0,
        ...before.flatMap(({ deviceId, streamId }) => (deviceId === CROSS_SIGNING ? [] : streamId)),
      );
      await addDestinationDeviceLists(tx, told, [userId], after);
      return told;
    });
    for (const destination of destinations) {
      this.#waiting.add(destination);
      wake(destination);
    }
  }

  /** The devices and keys of users as other servers may see them. */
  async #keysOf(userIds: readonly string[]): Promise<(userId: string) => Keys> {
    const wanted = Object.fromEntries(userIds.map((userId) => [userId, []]));
    const { database, keys } = this.#options;
    // Before the others: a device that gets keys meanwhile is in both.
    const keyless = Map.groupBy(await devicesWithoutKeys(database, userIds), ({ userId }) => userId);
    const { deviceKeys, masterKeys, selfSigningKeys } = await keys.local(wanted, undefined);
    return (userId) => ({
      devices: new Map([
        ...(keyless.get(userId) ?? []).map(({ deviceId, displayName }) => [deviceId, onlyNamed(displayName)] as const),
        ...Object.entries(deviceKeys[userId] ?? {}),
      ]),
      master: masterKeys[userId],
      selfSigning: selfSigningKeys[userId],
    });
  }
}

const onlyNamed = (displayName: string | null): JsonObject => ({
  unsigned: displayName === null ? {} : { device_display_name: displayName },
});

/** Whether a change is one of something else than a device that has no keys. */
const concernsKeys = ({ deleted, deviceId }: ToldDevice, { devices }: Keys): boolean => {
  const device = devices.get(deviceId);
  return deleted || device === undefined || keysIn(device).keys !== undefined;
};

/** What differs from what was sent last, with stream ids that continue from there. */
const changesOf = (before: readonly ToldDevice[], { devices, master, selfSigning }: Keys): ToldDevice[] => {
  const known = new Map(before.map((device) => [device.deviceId, device]));
  let streamId = Math.max(0, ...before.map((device) => device.streamId));
  const changes: ToldDevice[] = [];
  const note = (deviceId: string, digest: Buffer, deleted: boolean): void => {
    const told = known.get(deviceId);
    if (told?.deleted === deleted && (deleted || told.digest.equals(digest))) return;
    if (told === undefined && deleted) return;
    changes.push({ deviceId, streamId: (streamId += 1), digest, deleted });
  };
  const hasCrossSigning = master !== undefined || selfSigning !== undefined;
  note(CROSS_SIGNING, digestOf([master ?? null, selfSigning ?? null]), !hasCrossSigning);
  for (const [deviceId, device] of devices) note(deviceId, digestOf(device), false);
  for (const { deviceId } of before)
    if (deviceId !== CROSS_SIGNING && !devices.has(deviceId)) note(deviceId, Buffer.alloc(0), true);
  return changes;
};

const digestOf = (value: JsonValue): Buffer => hash('sha256', canonicalJson(value, 'lenient'), 'buffer');

const eduOf = (
  userId: string,
  { deleted, deviceId, streamId }: ToldDevice,
  previous: number,
  { devices, master, selfSigning }: Keys,
): Edu => {
  if (deviceId === CROSS_SIGNING) {
    const content: JsonObject = {
      user_id: userId,
      ...(master === undefined ? {} : { master_key: master }),
      ...(selfSigning === undefined ? {} : { self_signing_key: selfSigning }),
    };
    return { edu_type: 'm.signing_key_update', content };
  }
  const device = deleted ? undefined : devices.get(deviceId);
  const content: JsonObject = {
    user_id: userId,
    device_id: deviceId,
    stream_id: streamId,
    prev_id: previous === 0 ? [] : [previous],
    ...(device === undefined ? { deleted: true } : { ...keysIn(device), ...nameOf(device) }),
  };
  return { edu_type: 'm.device_list_update', content };
};

const keysIn = ({ unsigned: _unsigned, ...keys }: JsonObject): { readonly keys?: JsonObject } =>
  Object.keys(keys).length === 0 ? {} : { keys };

const nameOf = ({ unsigned }: JsonObject): { readonly device_display_name?: string } => {
  const name = isJsonObject(unsigned) ? unsigned['device_display_name'] : undefined;
  return typeof name === 'string' ? { device_display_name: name } : {};
};
