import { Background } from '#src/kernel/concurrency/background.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { type PositionVector, shardOfPosition } from '#src/protocol/wire/position.ts';
import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import type { Appservices } from '#src/services/accounts/appservices/appservices.ts';
import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import type { DeviceKeyCounts } from '#src/services/e2ee/device-keys/key-counts.ts';
import type { DeviceListChange, DeviceListChanges } from '#src/services/e2ee/device-lists/device-list-changes.ts';
import type { ToDeviceService } from '#src/services/e2ee/to-device/to-device-service.ts';
import type { FollowedEvent } from '#src/services/events/stream/followed-event.ts';
import { membershipIn } from '#src/services/room-model/room/membership.ts';
import { messagesForUsers, usersWithMessages, type WaitingMessage } from '#src/storage/appservices/extras.ts';
import type { Database } from '#src/storage/database.ts';
import { devicesOfUsers } from '#src/storage/e2ee/to-device.ts';
import type { Interest } from '../interest/interest.ts';
import type { ExtraSource, TakenExtras } from '../transactions/extra-source.ts';
import type { UserInterest } from '../interest/user-interest.ts';

const PAGE = 500;
/** Messages for devices, users whose devices changed, and devices whose keys are counted, of one transaction. */
export const MAX_MESSAGES = 100;
/** Characters of these messages, unless one of them is longer. They stand in a transaction twice, under two names. */
export const MAX_CHARACTERS = 1_000_000;
const MAX_USERS = 500;
const MAX_DEVICES = 100;
/** Devices of its sender whose key counts a service gets with its first transaction. */
const MAX_PER_SENDER = 20;
/** Users whose change is looked at in one go. */
const USERS_AT_ONCE = 200;
/** Members of a room that a service gets as changed users when a user of its joins. */
const MAX_COMPANIONS = 1_000;

/** What waits for one service. */
interface Waiting {
  /** Users of its for whose devices messages may wait. */
  readonly recipients: Set<string>;
  readonly changed: Set<string>;
  /** Users who may share no room with a user of its any more. */
  readonly left: Set<string>;
  /** Devices whose keys became more or fewer, by user. */
  readonly counts: Map<string, Set<string>>;
  /** This process has not sent it the key counts of its sender yet. */
  isNew: boolean;
}

export interface DeviceExtrasOptions {
  readonly database: Database;
  readonly appservices: Pick<Appservices, 'all' | 'changed' | 'interestedInUser' | 'isUserOf' | 'ownerOfUser'>;
  readonly interest: Pick<Interest, 'now'>;
  readonly userInterest: UserInterest;
  readonly accountStream: AccountStream;
  readonly toDevice: Pick<ToDeviceService, 'arrived'>;
  readonly counts: DeviceKeyCounts;
  readonly changes: Pick<DeviceListChanges, 'between' | 'changed'>;
  readonly committed: () => PositionVector;
  /** Whether anything is kept for a service. */
  readonly receives: (service: ApplicationService) => boolean;
  readonly wake: (service: string) => void;
  readonly logger: Logger;
}

/**
 * What application services need for encryption: to-device messages, changed device lists, and key counts
 * (MSC2409, MSC3202, MSC4203). Messages are those for users that belong to a service exclusively: others may have clients of their own,
 * and get theirs there.
 */
export class DeviceExtras implements ExtraSource {
  readonly #options: DeviceExtrasOptions;
  readonly #waiting = new Map<string, Waiting>();
  #changes: DeviceListChange[] = [];
  /** Positions up to which changes of devices were processed, by shard. */
  #sentUpTo: number[] = [];
  readonly #looking: Background;
  #wantsScan = false;

  constructor(options: DeviceExtrasOptions) {
    this.#options = options;
    const { accountStream, appservices, changes, counts, logger, toDevice } = options;
    this.#looking = new Background(
      'devices for application services',
      () => this.#look(),
      (err) => logger.error('device list changes for application services could not be queued', { err }),
    );
    toDevice.arrived.subscribe((userIds) => {
      if (this.#hasListeners) for (const userId of userIds) this.#noteRecipient(userId);
    });
    counts.changed.subscribe(({ deviceId, userId }) => {
      if (this.#hasListeners) this.#noteCounts(userId, deviceId);
    });
    // A device without keys uploads some when it is sent a count of none.
    accountStream.on('device_changed', ({ change, deviceId, userId }) => {
      if (change === 'created' && this.#hasListeners) this.#noteCounts(userId, deviceId);
    });
    changes.changed.subscribe((change) => {
      this.#changes.push(change);
      if (this.#hasListeners) this.#looking.wake();
      else this.#reached();
    });
    appservices.changed.subscribe(({ changed }) => {
      if (this.#sentUpTo.length === 0 || !changed.some((service) => this.#listens(service))) return;
      this.#wantsScan = true;
      this.#looking.wake();
    });
  }

  /** Finds what waits since the last process. @param sentUpToOf up to which position a service was sent changes of devices */
  async start(sentUpToOf: (service: string) => PositionVector | undefined): Promise<void> {
    const { appservices, changes, committed } = this.#options;
    const now = committed();
    this.#sentUpTo = [...now];
    const listening = appservices.all().filter((service) => this.#listens(service));
    if (listening.length === 0) return;
    for (const service of listening) {
      const sentUpTo = sentUpToOf(service.id);
      if (sentUpTo === undefined) continue;
      const missed = await changes.between(sentUpTo, now);
      for (let from = 0; from < missed.length; from += USERS_AT_ONCE)
        await this.#noteChanges(missed.slice(from, from + USERS_AT_ONCE), service);
    }
    await this.#scan();
  }

  async take(service: ApplicationService): Promise<TakenExtras | undefined> {
    if (!this.#listens(service)) return undefined;
    const waiting = this.#of(service.id);
    if (waiting.isNew) await this.#noteSender(service, waiting);
    const isNewCount = waiting.counts.size > 0;
    const { holdsEventsBack, messages } = await this.#messagesFor(waiting);
    const { fallback, oneTime } = await this.#takeCounts(waiting, messages);
    const mayBeGone = [...waiting.left].slice(0, MAX_USERS);
    const left = await this.#goneFor(service, mayBeGone);
    // From here on nothing fails.
    for (const userId of mayBeGone) waiting.left.delete(userId);
    const changed = takeSome(waiting.changed, MAX_USERS);
    const isAll = waiting.changed.size === 0 && waiting.left.size === 0 && this.#changes.length === 0;
    const lists = { changed, left };
    const events = messages.map((message): JsonObject => {
      const { content, deviceId, userId } = message;
      return { ...(JSON.parse(content) as JsonObject), to_user_id: userId, to_device_id: deviceId };
    });
    const members: JsonObject = {
      ...(events.length === 0 ? {} : { 'de.sorunome.msc2409.to_device': events, to_device: events }),
      'org.matrix.msc3202.device_lists': lists,
      device_lists: lists,
      ...(Object.keys(oneTime).length === 0
        ? {}
        : {
            device_one_time_keys_count: oneTime,
            'org.matrix.msc3202.device_one_time_keys_count': oneTime,
            device_unused_fallback_key_types: fallback,
            'org.matrix.msc3202.device_unused_fallback_key_types': fallback,
          }),
    };
    return {
      members,
      messages: messages.map(({ deviceId, pos, userId }) => ({ deviceId, pos, userId })),
      holdsEventsBack,
      isNews: events.length + changed.length + left.length > 0 || isNewCount,
      ...(isAll ? { told: [...this.#sentUpTo] } : {}),
    };
  }

  /** Notes joins and leaves in rooms with users of services. */
  async note(events: readonly FollowedEvent[]): Promise<void> {
    if (!this.#hasListeners) return;
    const moves = events.filter(({ event, room }) => event.type === 'm.room.member' && room.isEncrypted);
    if (moves.length === 0) return;
    const interested = await this.#options.interest.now(moves.map(({ room }) => room));
    for (const { event, room } of moves) {
      const userId = event.stateKey ?? '';
      const isIn = membershipIn(event.content) === 'join';
      const wasIn = event.previous !== undefined && membershipIn(event.previous.content) === 'join';
      if (isIn === wasIn) continue;
      for (const service of this.#options.appservices.all()) {
        const isOwn = this.#options.appservices.isUserOf(service, userId);
        if (!this.#listens(service) || (!isOwn && interested.get(room)?.has(service) !== true)) continue;
        const waiting = this.#of(service.id);
        const others = isOwn ? joinedMembers(room.members.values(), MAX_COMPANIONS) : [userId];
        for (const other of others) (isIn ? waiting.changed : waiting.left).add(other);
        this.#options.wake(service.id);
      }
    }
  }

  forget(service: string): void {
    this.#waiting.delete(service);
  }

  idle(): Promise<void> {
    return this.#looking.idle();
  }

  close(): Promise<void> {
    return this.#looking.close();
  }

  get #hasListeners(): boolean {
    return this.#options.appservices.all().some((service) => this.#listens(service));
  }

  #listens(service: ApplicationService): boolean {
    return service.wantsDeviceData && this.#options.receives(service);
  }

  #of(service: string): Waiting {
    let waiting = this.#waiting.get(service);
    if (waiting === undefined) {
      waiting = { recipients: new Set(), changed: new Set(), left: new Set(), counts: new Map(), isNew: true };
      this.#waiting.set(service, waiting);
    }
    return waiting;
  }

  #noteRecipient(userId: string): void {
    const owner = this.#options.appservices.ownerOfUser(userId);
    if (owner === undefined || !this.#listens(owner)) return;
    this.#of(owner.id).recipients.add(userId);
    this.#options.wake(owner.id);
  }

  #noteCounts(userId: string, deviceId: string): void {
    const owner = this.#options.appservices.ownerOfUser(userId);
    if (owner === undefined || !this.#listens(owner)) return;
    addTo(this.#of(owner.id).counts, userId, deviceId);
    this.#options.wake(owner.id);
  }

  async #look(): Promise<void> {
    if (this.#wantsScan) {
      this.#wantsScan = false;
      await this.#scan();
    }
    while (this.#changes.length > 0 && !this.#looking.isClosed) {
      const changes = this.#changes.slice(0, USERS_AT_ONCE);
      await this.#noteChanges(changes);
      this.#changes.splice(0, changes.length);
      this.#reach(changes);
    }
  }

  #reached(): void {
    this.#reach(this.#changes);
    this.#changes = [];
  }

  #reach(changes: readonly DeviceListChange[]): void {
    for (const { pos } of changes) {
      const shard = shardOfPosition(pos);
      this.#sentUpTo[shard] = Math.max(pos, this.#sentUpTo[shard] ?? 0);
    }
  }

  /** @param only the service to send to; all that are interested when left out */
  async #noteChanges(changes: readonly DeviceListChange[], only?: ApplicationService): Promise<void> {
    const { appservices, userInterest, wake } = this.#options;
    const public_ = changes.filter(({ seenBy }) => seenBy === undefined).map(({ userId }) => userId);
    const interested = new Map(await userInterest.of([...new Set(public_)]));
    const note = (service: ApplicationService, userId: string): void => {
      if (!this.#listens(service) || (only !== undefined && only !== service)) return;
      this.#of(service.id).changed.add(userId);
      wake(service.id);
    };
    for (const [userId, services] of interested) for (const service of services) note(service, userId);
    for (const { seenBy, userId } of changes)
      if (seenBy !== undefined) for (const service of appservices.interestedInUser(seenBy)) note(service, userId);
  }

  async #scan(): Promise<void> {
    const { database } = this.#options;
    for (let after = ''; ;) {
      const page = await usersWithMessages(database, after, PAGE);
      for (const userId of page) this.#noteRecipient(userId);
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) return;
      after = last;
    }
  }

  async #noteSender({ sender }: ApplicationService, waiting: Waiting): Promise<void> {
    const devices = await devicesOfUsers(this.#options.database, [sender]);
    for (const { deviceId, userId } of devices.slice(0, MAX_PER_SENDER)) addTo(waiting.counts, userId, deviceId);
    waiting.isNew = false;
  }

  /** The oldest messages, and whether more wait behind them. */
  async #messagesFor({
    recipients,
  }: Waiting): Promise<{ readonly messages: readonly WaitingMessage[]; readonly holdsEventsBack: boolean }> {
    if (recipients.size === 0) return { messages: [], holdsEventsBack: false };
    const users = [...recipients];
    // What is added from here on is noted again.
    recipients.clear();
    try {
      const found = await messagesForUsers(this.#options.database, users, MAX_MESSAGES + 1);
      // Once these have arrived it is looked whether that was all.
      if (found.length > 0) for (const userId of users) recipients.add(userId);
      let left = MAX_CHARACTERS;
      const end = found.findIndex(({ content }, index) => {
        left -= content.length;
        return index >= MAX_MESSAGES || (index > 0 && left < 0);
      });
      return end < 0
        ? { messages: found, holdsEventsBack: false }
        : { messages: found.slice(0, end), holdsEventsBack: true };
    } catch (error) {
      for (const userId of users) recipients.add(userId);
      throw error;
    }
  }

  /** Those of these users who share no room with a user of the service. */
  async #goneFor(service: ApplicationService, userIds: readonly string[]): Promise<string[]> {
    if (userIds.length === 0) return [];
    const interested = await this.#options.userInterest.of(userIds);
    return userIds.filter((userId) => interested.get(userId)?.has(service) !== true);
  }

  async #takeCounts(
    { counts }: Waiting,
    messages: readonly WaitingMessage[],
  ): Promise<{ readonly oneTime: JsonObject; readonly fallback: JsonObject }> {
    for (const { deviceId, userId } of messages) addTo(counts, userId, deviceId);
    const oneTime: Record<string, Record<string, JsonObject>> = {};
    const fallback: Record<string, Record<string, readonly string[]>> = {};
    let left = MAX_DEVICES;
    for (const [userId, deviceIds] of counts) {
      for (const deviceId of deviceIds) {
        if (left-- <= 0) return { oneTime, fallback };
        const known = await this.#options.counts.of(userId, deviceId);
        (oneTime[userId] ??= {})[deviceId] = known.oneTime;
        (fallback[userId] ??= {})[deviceId] = [...known.unusedFallback];
        deviceIds.delete(deviceId);
      }
      counts.delete(userId);
    }
    return { oneTime, fallback };
  }
}

const addTo = (devices: Map<string, Set<string>>, userId: string, deviceId: string): void => {
  const known = devices.get(userId);
  if (known === undefined) devices.set(userId, new Set([deviceId]));
  else known.add(deviceId);
};

const takeSome = (values: Set<string>, most: number): string[] => {
  const taken = [...values].slice(0, most);
  for (const value of taken) values.delete(value);
  return taken;
};

const joinedMembers = (
  members: Iterable<{ readonly userId: string; readonly membership: string }>,
  most: number,
): string[] => {
  const found: string[] = [];
  for (const { membership, userId } of members) {
    if (found.length >= most) break;
    if (membership === 'join') found.push(userId);
  }
  return found;
};
