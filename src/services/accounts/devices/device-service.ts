import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { checkDeviceName } from '#src/protocol/identifiers/device-names.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { SessionService } from '#src/services/accounts/sessions/session-service.ts';
import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import type { AuthData } from '#src/services/accounts/uia/stages.ts';
import type { UiaService } from '#src/services/accounts/uia/uia-service.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import { type DeviceRecord, findDevice, listDevices, renameDevice } from '#src/storage/accounts/devices.ts';
import { PASSWORD_FLOWS } from '#src/services/accounts/uia/flows.ts';
import type { DeviceActivity } from './device-activity.ts';

/** A device of a local user. */
export type Device = DeviceRecord;

export interface DeviceServiceDependencies {
  readonly database: Database;
  readonly sessions: SessionService;
  readonly uia: UiaService;
  readonly activity: DeviceActivity;
  readonly stream: AccountStream;
}

const noSuchDevice = (): MatrixError => new MatrixError('M_NOT_FOUND', 'You have no device with that id.');

/** The devices of local users. Client-Server API, "Device Management". */
export class DeviceService {
  readonly #deps: DeviceServiceDependencies;

  constructor(deps: DeviceServiceDependencies) {
    this.#deps = deps;
  }

  /** In the order in which they were made. */
  async list(userId: string): Promise<Device[]> {
    const devices = await this.#deps.database.read((tx) => listDevices(tx, userId));
    return devices.map((device) => this.#withLatest(device));
  }

  /**
   * The devices of a user, for the user or an administrator. Client-Server API, `GET /admin/whois/{userId}`.
   *
   * @throws MatrixError M_FORBIDDEN
   */
  async whoIs(requester: Pick<Requester, 'userId' | 'isAdmin'>, userId: string): Promise<Device[]> {
    if (requester.userId !== userId && !requester.isAdmin)
      throw new MatrixError('M_FORBIDDEN', 'Only administrators may ask about other users.');
    return this.list(userId);
  }

  /** @throws MatrixError M_NOT_FOUND */
  async get(userId: string, deviceId: string): Promise<Device> {
    const device = await this.#deps.database.read((tx) => findDevice(tx, userId, deviceId));
    if (device === undefined) throw noSuchDevice();
    return this.#withLatest(device);
  }

  /** Changes the display name; without one nothing changes. @throws MatrixError M_NOT_FOUND, M_INVALID_PARAM */
  async rename(userId: string, deviceId: string, displayName: string | undefined): Promise<void> {
    if (displayName === undefined) {
      await this.get(userId, deviceId);
      return;
    }
    await this.#deps.database.write((tx) => this.renameIn(tx, userId, deviceId, displayName));
  }

  /** As `rename`, within a transaction. */
  async renameIn(tx: Tx, userId: string, deviceId: string, displayName: string): Promise<void> {
    checkDeviceName(displayName);
    if (!(await renameDevice(tx, userId, deviceId, displayName))) throw noSuchDevice();
    tx.afterCommit(() => this.#deps.stream.publish({ kind: 'device_changed', userId, deviceId, change: 'renamed' }));
  }

  /**
   * The same for application services, which make the devices that are not there. Application Service API, "Creating devices".
   *
   * @returns whether it is new
   * @throws MatrixError M_INVALID_PARAM, M_TOO_LARGE
   */
  async put(userId: string, deviceId: string, displayName: string | undefined): Promise<boolean> {
    const isNew = await this.#deps.database.write((tx) =>
      this.#deps.sessions.createDeviceIn(tx, userId, deviceId, displayName),
    );
    if (!isNew) await this.rename(userId, deviceId, displayName);
    return isNew;
  }

  /**
   * Deletes devices of the requester after user-interactive authentication; their tokens are dead at once. Devices that do not exist
   * (any more) are passed over. Application services have nothing to authenticate with, and need not.
   *
   * @param operation the operationId, so that a session begun for one operation is not used for another
   * @throws UiaChallenge
   */
  async delete(
    requester: Requester,
    operation: 'deleteDevice' | 'deleteDevices',
    deviceIds: readonly string[],
    auth: AuthData | undefined,
    ip: string,
  ): Promise<void> {
    const { uia, sessions } = this.#deps;
    const revoke = (): Promise<void> => sessions.revokeDevices(requester.userId, deviceIds, 'device_deleted');
    if (requester.appservice !== undefined) return revoke();
    await uia.perform(
      {
        operation,
        parameters: deviceIds.toSorted(),
        flows: PASSWORD_FLOWS,
        userId: requester.userId,
        reuseFor: requester.deviceId,
        auth,
        ip,
      },
      revoke,
    );
  }

  #withLatest(device: Device): Device {
    const seen = this.#deps.activity.latest(device.userId, device.deviceId);
    if (seen === undefined) return device;
    return { ...device, lastSeenTs: seen.ts, lastSeenIp: seen.ip, lastSeenUserAgent: seen.userAgent ?? null };
  }
}
