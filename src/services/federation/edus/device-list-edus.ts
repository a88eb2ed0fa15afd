import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { type Edu, type EduSource, NO_EDUS, type TakenEdus } from '#src/services/federation/outbound/edu-source.ts';
import type { Database } from '#src/storage/database.ts';
import {
  destinationsOfDeviceLists,
  forgetDestinationDeviceLists,
  newestDeviceStreamId,
  nextDestinationDeviceLists,
  type PendingDeviceList,
  type SentDevice,
  markDeviceListsSent,
  sentDevicesAfter,
} from '#src/storage/federation/sent-devices.ts';
import { type Keys, keysIn, type LocalDeviceKeys, nameOf } from './local-device-keys.ts';

const USERS_AT_ONCE = 100;
/** Stands for the cross-signing keys of a user. */
export const CROSS_SIGNING = '';

export interface DeviceListEdusOptions {
  readonly database: Database;
  readonly keys: LocalDeviceKeys;
  readonly wake: (destination: string) => void;
}

/**
 * Sends `m.device_list_update` for each changed device of local users, in order: each update names the one before it, so that a server that
 * missed one notices. Which ones wait is noted by `DeviceListPublisher`. Server-Server API, "Device Management".
 */
export class DeviceListEdus implements EduSource {
  readonly #options: DeviceListEdusOptions;
  /** Servers for which updates may wait. */
  readonly #waiting = new Set<string>();

  constructor(options: DeviceListEdusOptions) {
    this.#options = options;
  }

  /** Updates wait for servers. */
  wait(destinations: Iterable<string>): void {
    for (const destination of destinations) {
      this.#waiting.add(destination);
      this.#options.wake(destination);
    }
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
    // Items that arrive during this read add the destination again.
    if (!this.#waiting.delete(destination)) return NO_EDUS;
    try {
      const taken = await this.#read(destination, limit, characters);
      // They stay pending until their delivery is stored.
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
    const rows = await sentDevicesAfter(database, lists);
    const keysOf = await this.#options.keys.of(lists.map(({ userId }) => userId));
    const edus: Edu[] = [];
    const identity: string[] = [];
    const sentUpTo = new Map<string, number>(lists.map(({ userId, after }) => [userId, after]));
    const previous = new Map<string, number>(sentUpTo);
    // Deleted devices as well: a server that is sent all devices may know them, from before or from a transaction whose answer was lost.
    let left = characters;
    for (const row of rows) {
      const { deviceId, streamId, userId } = row;
      const edu = eduOf(userId, row, previous.get(userId) ?? 0, keysOf(userId));
      left -= JSON.stringify(edu.content).length;
      if (edus.length >= limit || (edus.length > 0 && left < 0)) break;
      sentUpTo.set(userId, streamId);
      edus.push(edu);
      if (deviceId !== CROSS_SIGNING) previous.set(userId, streamId);
      identity.push(`${userId} ${deviceId} ${streamId}`);
    }
    const delivered = (): Promise<void> =>
      markDeviceListsSent(
        database,
        destination,
        Array.from(sentUpTo, ([userId, upTo]) => ({ userId, upTo })),
      );
    return { edus, identity, holdsEventsBack: false, delivered };
  }

  /** The user whose update comes first is taken for one of whom the server was told everything. */
  async skip(destination: string): Promise<void> {
    const { database } = this.#options;
    const [first] = await nextDestinationDeviceLists(database, destination, 1);
    if (first === undefined) return;
    const upTo = await newestDeviceStreamId(database, first.userId);
    await markDeviceListsSent(database, destination, [{ userId: first.userId, upTo }]);
  }

  /** Keeps everything: pending updates are one number per user. */
  away(): void {
    // Nothing is dropped.
  }

  async forget(destination: string): Promise<void> {
    this.#waiting.delete(destination);
    await forgetDestinationDeviceLists(this.#options.database, destination);
  }
}

const eduOf = (
  userId: string,
  { deleted, deviceId, streamId }: SentDevice,
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
