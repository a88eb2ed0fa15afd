import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { checkDeviceId, checkDeviceName } from '#src/protocol/identifiers/device-names.ts';
import type { SessionService } from '#src/services/accounts/sessions/session-service.ts';
import type { Database } from '#src/storage/database.ts';
import { insertDevice } from '#src/storage/accounts/devices.ts';
import {
  type DehydratedDeviceRecord,
  findDehydratedDevice,
  insertDehydratedDevice,
} from '#src/storage/e2ee/dehydrated-devices.ts';
import { takeUserTurn } from '#src/storage/user-turn.ts';
import type { DeviceKeyService, KeyUpload } from '../device-keys/device-key-service.ts';
import type { DeviceInboxes } from '../to-device/device-inboxes.ts';

/** Characters of `device_data` as JSON. */
export const MAX_DATA_LENGTH = 262_144;
/** Messages in one answer. */
const PAGE = 100;
const BATCH_TOKEN = /^d([0-9]{1,16})$/;

/** A device as a client dehydrates it. MSC3814, `PUT /dehydrated_device`. */
export interface Dehydration extends KeyUpload {
  readonly device_id: string;
  readonly device_data: JsonObject;
  readonly initial_device_display_name?: string | undefined;
}

export interface DehydratedDevicesOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly sessions: SessionService;
  readonly deviceKeys: DeviceKeyService;
  readonly inboxes: DeviceInboxes;
}

/** Dehydrated devices: they receive room keys while their user has no other device logged in. MSC3814. */
export class DehydratedDevices {
  readonly #options: DehydratedDevicesOptions;

  constructor(options: DehydratedDevicesOptions) {
    this.#options = options;
  }

  /** Replaces the user's dehydrated device by a new one; a refused one replaces nothing. @throws MatrixError M_INVALID_PARAM, M_TOO_LARGE, M_BAD_JSON */
  async put(userId: string, device: Dehydration): Promise<void> {
    const { database, clock, sessions, deviceKeys } = this.#options;
    const { device_id: deviceId } = device;
    checkDeviceId(deviceId);
    const displayName = device.initial_device_display_name ?? null;
    if (displayName !== null) checkDeviceName(displayName);
    const deviceData = JSON.stringify(device.device_data);
    if (deviceData.length > MAX_DATA_LENGTH)
      throw new MatrixError('M_TOO_LARGE', `device_data can have ${MAX_DATA_LENGTH} characters at most.`);
    if (device.device_keys === undefined)
      throw new MatrixError('M_MISSING_PARAM', 'A dehydrated device needs device_keys.');
    const keys = deviceKeys.check(userId, deviceId, device);
    await database.write(async (tx) => {
      await takeUserTurn(tx, userId);
      const before = await findDehydratedDevice(tx, userId);
      if (before !== undefined) await sessions.revokeDevicesIn(tx, userId, [before.deviceId], 'device_deleted');
      const isNew = await insertDevice(tx, { userId, deviceId, displayName, createdTs: clock.now() });
      if (!isNew) throw new MatrixError('M_INVALID_PARAM', 'You have a device with that id: dehydrate a new one.');
      await insertDehydratedDevice(tx, userId, { deviceId, deviceData });
      await deviceKeys.uploadIn(tx, userId, deviceId, keys);
    });
    await deviceKeys.published(userId);
  }

  /** The user's dehydrated device. @throws MatrixError M_NOT_FOUND */
  async get(userId: string): Promise<{ readonly device_id: string; readonly device_data: JsonObject }> {
    const { deviceId, deviceData } = await this.#find(userId);
    return { device_id: deviceId, device_data: JSON.parse(deviceData) as JsonObject };
  }

  /** Deletes the user's dehydrated device; returns its id. @throws MatrixError M_NOT_FOUND */
  async delete(userId: string): Promise<string> {
    const { deviceId } = await this.#find(userId);
    await this.#options.sessions.revokeDevices(userId, [deviceId], 'device_deleted');
    return deviceId;
  }

  /**
   * Messages that wait for the dehydrated device, page by page; they stay until the device is deleted.
   *
   * @param nextBatch where the answer before ended
   * @returns JSON texts of the messages, where they end, and whether there are more
   * @throws MatrixError M_NOT_FOUND, M_FORBIDDEN for another device, M_INVALID_PARAM
   */
  async events(
    userId: string,
    deviceId: string,
    nextBatch: string | undefined,
  ): Promise<{ readonly events: readonly string[]; readonly nextBatch: string; readonly hasMore: boolean }> {
    const device = await this.#find(userId);
    if (device.deviceId !== deviceId) throw new MatrixError('M_FORBIDDEN', 'This is not your dehydrated device.');
    const match = BATCH_TOKEN.exec(nextBatch ?? 'd0');
    if (match === null) throw new MatrixError('M_INVALID_PARAM', 'next_batch is none that this server gave out.');
    const found = await this.#options.inboxes.page(userId, deviceId, Number(match[1]), PAGE + 1);
    const page = found.slice(0, PAGE);
    const last = page.at(-1);
    return {
      events: page.map(({ content }) => content),
      nextBatch: last === undefined ? `d${match[1]}` : `d${last.pos}`,
      hasMore: found.length > page.length,
    };
  }

  async #find(userId: string): Promise<DehydratedDeviceRecord> {
    const device = await findDehydratedDevice(this.#options.database, userId);
    if (device === undefined) throw new MatrixError('M_NOT_FOUND', 'You have no dehydrated device.');
    return device;
  }
}
