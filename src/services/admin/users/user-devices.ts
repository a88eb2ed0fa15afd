import type { DeviceService } from '#src/services/accounts/devices/device-service.ts';
import type { SessionService } from '#src/services/accounts/sessions/session-service.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { AuditLog } from '#src/services/audit/audit-log.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Database } from '#src/storage/database.ts';
import type { LocalAccounts } from './local-accounts.ts';

export interface UserDevicesOptions {
  readonly database: Database;
  readonly localAccounts: LocalAccounts;
  readonly devices: DeviceService;
  readonly sessions: SessionService;
  readonly auditLog: AuditLog;
}

/** What administrators do to the devices of users. Each change leaves its entry in the audit log. */
export class UserDevices {
  readonly #options: UserDevicesOptions;

  constructor(options: UserDevicesOptions) {
    this.#options = options;
  }

  /**
   * Makes a device, unless there is one of this id.
   *
   * @throws MatrixError M_NOT_FOUND, M_UNKNOWN (400) for users of other servers and for deactivated accounts, M_INVALID_PARAM, M_TOO_LARGE
   */
  async create(actor: Actor, userId: string, deviceId: string): Promise<void> {
    const { auditLog, database, sessions, localAccounts } = this.#options;
    const { deactivated } = await localAccounts.account(userId);
    if (deactivated) throw new MatrixError('M_UNKNOWN', 'This account is deactivated: it has no devices.');
    await database.write(async (tx) => {
      if (!(await sessions.createDeviceIn(tx, userId, deviceId, undefined))) return;
      await auditLog.record(tx, actor, { action: 'device.create', target: userId, after: { device_id: deviceId } });
    });
  }

  /** Changes what a device is called; without a name nothing. @throws MatrixError M_NOT_FOUND, M_UNKNOWN (400), M_INVALID_PARAM */
  async rename(actor: Actor, userId: string, deviceId: string, displayName: string | undefined): Promise<void> {
    const { auditLog, database, devices, localAccounts } = this.#options;
    await localAccounts.account(userId);
    const before = await devices.get(userId, deviceId);
    if (displayName === undefined || before.displayName === displayName) return;
    await database.write(async (tx) => {
      await devices.renameIn(tx, userId, deviceId, displayName);
      await auditLog.record(tx, actor, {
        action: 'device.rename',
        target: userId,
        before: { device_id: deviceId, display_name: before.displayName },
        after: { device_id: deviceId, display_name: displayName },
      });
    });
  }

  /** Deletes devices, and ends their sessions. Those that are not there are passed over. @throws MatrixError M_NOT_FOUND, M_UNKNOWN (400) */
  async delete(actor: Actor, userId: string, deviceIds: readonly string[]): Promise<void> {
    const { auditLog, database, sessions, localAccounts } = this.#options;
    await localAccounts.account(userId);
    await database.write(async (tx) => {
      const deleted = await sessions.revokeDevicesIn(tx, userId, deviceIds, 'device_deleted');
      if (deleted.length === 0) return;
      await auditLog.record(tx, actor, {
        action: 'device.delete',
        target: userId,
        before: { device_ids: deleted.toSorted() },
      });
    });
  }
}
