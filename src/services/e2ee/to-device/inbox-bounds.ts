import { RecentMap } from '#src/kernel/caches/recent-map.ts';
import type { Database } from '#src/storage/database.ts';
import { type InboxLimits, type ToDeviceRow, trimInboxes, trimInboxesOfUsers } from '#src/storage/e2ee/to-device.ts';
import { deviceKey } from '#src/protocol/identifiers/device-names.ts';

/** Devices, and users, for whom it is known how much came of late. */
const DEVICES = 20_000;
const USERS = 10_000;
/** So large a part of what may wait is written before it is looked how much waits. */
const PART = 1 / 4;

type Addressed = Pick<ToDeviceRow, 'userId' | 'deviceId' | 'content'>;
type Device = Pick<ToDeviceRow, 'userId' | 'deviceId'>;

/**
 * Keeps inboxes from growing without end while nobody fetches what is in them: the oldest messages go, of one device, and of all devices of a user
 * together: those of devices that nobody uses any more are the oldest. What came since an inbox was last looked at is counted in memory, so that a message usually costs no statement. Inboxes that this has forgotten (of a process that ended, of devices that
 * were not among the last) are looked at by the periodic cleaning.
 */
export class InboxBounds {
  readonly #database: Database;
  readonly #limits: InboxLimits;
  readonly #grown = new RecentMap<string, number>('inbox_growth', DEVICES);
  /** By user, for all devices together. */
  readonly #grownOfUsers = new RecentMap<string, number>('inbox_growth_users', USERS);

  constructor(database: Database, limits: InboxLimits) {
    this.#database = database;
    this.#limits = limits;
  }

  /** Counts messages that were committed, and deletes what is too much. @returns devices of which messages may have been deleted */
  async written(messages: readonly Addressed[]): Promise<readonly Device[]> {
    const { bytes, messages: most } = this.#limits;
    const full = new Map<string, Device>();
    for (const { userId, deviceId, content } of messages) {
      const key = deviceKey(userId, deviceId);
      const grown = (this.#grown.get(key) ?? 0) + content.length + bytes / most;
      if (grown >= PART * bytes) full.set(key, { userId, deviceId });
      this.#grown.set(key, full.has(key) ? 0 : grown);
    }
    const users = this.#fullUsers(messages);
    const devices = [...full.values()];
    if (devices.length > 0) await trimInboxes(this.#database, devices, this.#limits);
    return users.length === 0
      ? devices
      : [...devices, ...(await trimInboxesOfUsers(this.#database, users, this.#limits))];
  }

  /** Users for whom so much came that it has to be looked how much waits for all of their devices. */
  #fullUsers(messages: readonly Addressed[]): readonly string[] {
    const full = new Set<string>();
    for (const { userId, content } of messages) {
      const grown = (this.#grownOfUsers.get(userId) ?? 0) + content.length;
      if (grown >= PART * this.#limits.userBytes) full.add(userId);
      this.#grownOfUsers.set(userId, full.has(userId) ? 0 : grown);
    }
    return [...full];
  }
}
