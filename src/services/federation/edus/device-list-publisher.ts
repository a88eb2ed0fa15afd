import { hash } from 'node:crypto';
import { shareDevices } from '#src/jobs/definitions.ts';
import { requestJob } from '#src/jobs/job-definition.ts';
import { Background } from '#src/kernel/concurrency/background.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Counter, Metrics } from '#src/kernel/metrics.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { JsonValue } from '#src/protocol/json/json-value.ts';
import { ORIGIN, type PositionVector } from '#src/protocol/wire/position.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { DeviceListChanges } from '#src/services/e2ee/device-lists/device-list-changes.ts';
import type { FollowUp } from '#src/services/events/building/follow-ups.ts';
import { countGivenUp } from '#src/services/events/stream/follower-metrics.ts';
import type { Database } from '#src/storage/database.ts';
import { cursorsAt, followerCursors, saveFollowerCursors } from '#src/storage/events/event-followers.ts';
import { isOfDatabase } from '#src/storage/failures.ts';
import {
  addDestinationDeviceLists,
  awaitFirstSentDevices,
  lockSentDevices,
  saveSentDevices,
  type SentDevice,
  sentDevicesAfter,
  sentDevicesOf,
  usersWithUnsentDevices,
} from '#src/storage/federation/sent-devices.ts';
import { CROSS_SIGNING, type DeviceListEdus } from './device-list-edus.ts';
import { type Keys, keysIn, type LocalDeviceKeys } from './local-device-keys.ts';
import type { SharingServers } from './sharing-servers.ts';

/** Under which it remembers how far it came, and in metrics. */
const NAME = 'federation_device_lists';
const RETRY_MS = 1_000;
/** How often the changes of one user are tried; the pauses grow four times each. */
const TRIES = 6;
const USERS_AT_ONCE = 100;
/** Notes for a server and a user that are written at once, and of so many users at least one. */
const NOTES_AT_ONCE = 5_000;
/** Deleted devices of a user that are remembered as announced to other servers. */
const KEPT_DELETED = 100;

export interface DeviceListPublisherOptions {
  readonly database: Database;
  readonly writer: Writer;
  readonly changes: DeviceListChanges;
  readonly keys: LocalDeviceKeys;
  /** Where the updates wait for their servers. */
  readonly edus: Pick<DeviceListEdus, 'wait'>;
  readonly servers: SharingServers;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly isLocal: (userId: string) => boolean;
  readonly allows: (serverName: string) => boolean;
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

/**
 * Works out what changed of the devices of local users, once for each change, from what was sent last; and notes for each server the users whose
 * updates it has not got yet. Server-Server API, "Device Management".
 */
export class DeviceListPublisher {
  readonly #options: DeviceListPublisherOptions;
  /** Users whose devices changed. */
  readonly #changed = new Set<string>();
  /** Users at whom that failed, and how often. */
  readonly #failing = new Map<string, number>();
  readonly #retries = new Map<string, Timer>();
  readonly #publishing: Background;
  readonly #givenUp: Counter;
  #retry: Timer | undefined;
  #reached: PositionVector = ORIGIN;

  constructor(options: DeviceListPublisherOptions) {
    this.#options = options;
    this.#givenUp = countGivenUp(options.metrics);
    this.#publishing = new Background(
      'federation device lists',
      () => this.#publishAll(),
      (err) => {
        options.logger.error('changed devices of users could not be published to other servers; trying again', { err });
        this.#retry = options.timers.after(RETRY_MS, () => this.#publishing.wake());
      },
    );
    options.changes.changed.subscribe(({ userId, seenBy }) => {
      if (seenBy === undefined && options.isLocal(userId)) this.#change(userId);
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

  /** Has all devices of local users sent to servers that share a room with them, and did not get their updates. */
  tell(userIds: readonly string[], destinations: readonly string[]): Promise<void> {
    return this.#tell(userIds, destinations, false);
  }

  async #tell(userIds: readonly string[], destinations: readonly string[], withoutKeys: boolean): Promise<void> {
    const { allows, database, edus, servers } = this.#options;
    const allowed = destinations.filter((server) => allows(server));
    if (allowed.length === 0) return;
    const page = Math.max(1, Math.floor(NOTES_AT_ONCE / allowed.length));
    for (let from = 0; from < userIds.length; from += page) {
      const some = userIds.slice(from, from + page);
      // While no server shared a room with them nothing was noted of devices without keys.
      const unsent = await usersWithUnsentDevices(database, some, withoutKeys);
      const serversOf = await servers.of(unsent);
      for (const userId of unsent) await this.#publish(userId, [...serversOf(userId)]);
      const added = await database.writeAgain(async (tx) => {
        // What is worked out for the first time just now is nothing yet, and was to be told to others.
        await awaitFirstSentDevices(tx, some);
        return addDestinationDeviceLists(tx, allowed, some, 0);
      });
      edus.wait(added);
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

  /** Resolves when what changed is handed on. */
  idle(): Promise<void> {
    return this.#publishing.idle();
  }

  async close(): Promise<void> {
    await this.#publishing.close();
    // What failed meanwhile would be tried again.
    this.#retry?.cancel();
    for (const timer of this.#retries.values()) timer.cancel();
  }

  #change(userId: string): void {
    this.#changed.add(userId);
    this.#publishing.wake();
  }

  async #publishAll(): Promise<void> {
    const { database, writer } = this.#options;
    // The change that woke this counts as committed only after those who listen were told.
    await Promise.resolve();
    // What changes from now on comes again.
    const committed = writer.committed();
    while (this.#changed.size > 0 && !this.#publishing.isClosed) {
      const userIds = [...this.#changed].slice(0, USERS_AT_ONCE);
      // A change while this is read comes again.
      for (const userId of userIds) this.#changed.delete(userId);
      await this.#publishSome(userIds);
    }
    // What is tried again has to be found by the next process, too.
    if (this.#changed.size + this.#failing.size > 0) return;
    const moved = cursorsAt(committed).filter(({ shard, pos }) => pos > (this.#reached[shard] ?? 0));
    if (moved.length > 0) await saveFollowerCursors(database, NAME, moved);
    this.#reached = committed;
  }

  /** Publishes what changed of some users. One at whom that fails does not hold up the others. */
  async #publishSome(userIds: readonly string[]): Promise<void> {
    try {
      await this.#publishChanges(userIds);
      for (const userId of userIds) this.#failing.delete(userId);
    } catch (err) {
      if (isOfDatabase(err)) {
        for (const userId of userIds) this.#changed.add(userId);
        throw err;
      }
      const [first] = userIds;
      if (userIds.length > 1) for (const userId of userIds) await this.#publishSome([userId]);
      else if (first !== undefined) this.#fail(first, err);
    }
  }

  /** It is tried again in longer and longer pauses. */
  #fail(userId: string, err: unknown): void {
    const { logger, timers } = this.#options;
    const tries = (this.#failing.get(userId) ?? 0) + 1;
    if (tries >= TRIES) {
      this.#failing.delete(userId);
      this.#givenUp.inc({ follower: NAME });
      logger.error(
        'changed devices of a user could not be published to other servers, and are not until the next change',
        {
          user_id: userId,
          err,
        },
      );
      return;
    }
    this.#failing.set(userId, tries);
    logger.warn('changed devices of a user could not be published to other servers; trying again', {
      user_id: userId,
      err,
    });
    this.#retries.set(
      userId,
      timers.after(RETRY_MS * 4 ** (tries - 1), () => {
        this.#retries.delete(userId);
        this.#change(userId);
      }),
    );
  }

  async #publishChanges(userIds: readonly string[]): Promise<void> {
    const { servers } = this.#options;
    const changesOfUsers = await this.#changesOf(userIds);
    if (changesOfUsers.size === 0) return;
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
  }

  /** The users with something that no server was told, and whether it is more than devices without keys. */
  async #changesOf(userIds: readonly string[]): Promise<ReadonlyMap<string, boolean>> {
    const sent = await sentDevicesAfter(
      this.#options.database,
      userIds.map((userId) => ({ userId, after: 0 })),
    );
    const before = Map.groupBy(sent, ({ userId }) => userId);
    const keysOf = await this.#options.keys.of(userIds);
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
    const { allows, database, servers } = this.#options;
    const destinations = await database.write(async (tx) => {
      await lockSentDevices(tx, userId);
      const before = await sentDevicesOf(tx, userId);
      const changes = changesOf(before, (await this.#options.keys.of([userId]))(userId));
      if (changes.length === 0) return [];
      // A server that came to share a room meanwhile was to be told of nothing.
      const now = before.length > 0 ? sharing : (await servers.of([userId]))(userId);
      const destinations = [...now].filter((server) => allows(server));
      await saveSentDevices(tx, userId, changes, KEPT_DELETED);
      const after = Math.max(
        0,
        ...before.flatMap(({ deviceId, streamId }) => (deviceId === CROSS_SIGNING ? [] : streamId)),
      );
      await addDestinationDeviceLists(tx, destinations, [userId], after);
      return destinations;
    });
    this.#options.edus.wait(destinations);
  }
}

/** Whether a change is one of something else than a device that has no keys. */
const concernsKeys = ({ deleted, deviceId }: SentDevice, { devices }: Keys): boolean => {
  const device = devices.get(deviceId);
  return deleted || device === undefined || keysIn(device).keys !== undefined;
};

/** What differs from what was sent last, with stream ids that continue from there. */
const changesOf = (before: readonly SentDevice[], { devices, master, selfSigning }: Keys): SentDevice[] => {
  const known = new Map(before.map((device) => [device.deviceId, device]));
  let streamId = Math.max(0, ...before.map((device) => device.streamId));
  const changes: SentDevice[] = [];
  const note = (deviceId: string, digest: Buffer, deleted: boolean): void => {
    const sent = known.get(deviceId);
    if (sent?.deleted === deleted && (deleted || sent.digest.equals(digest))) return;
    if (sent === undefined && deleted) return;
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
