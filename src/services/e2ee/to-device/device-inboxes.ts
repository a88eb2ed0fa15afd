import { LiveCache } from '#src/kernel/caches/live-cache.ts';
import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import type { Database } from '#src/storage/database.ts';
import {
  acknowledgeToDevice,
  deleteToDevice,
  pendingToDevice,
  storedToDevice,
  type ToDeviceRecord,
  type ToDeviceRow,
} from '#src/storage/e2ee/to-device.ts';
import { deviceKey } from '#src/protocol/identifiers/device-names.ts';

/** Messages of one device that are kept in memory. Those behind them are read when the device has received these. */
const KEPT = 200;

/** The oldest messages that wait for a device, in order. */
interface Inbox {
  messages: ToDeviceRecord[];
  /** Whether these are all. */
  isComplete: boolean;
  /** The position of the newest message that was here: what was read may be published afterwards. */
  newest: number;
}

/** The oldest messages for a device. */
export interface InboxPart {
  /** JSON texts, in order. */
  readonly messages: readonly string[];
  /** The position of the last of them, when more wait behind it. */
  readonly resumeAfter: number | undefined;
}

const EMPTY_INBOX: InboxPart = { messages: [], resumeAfter: undefined };
/** Whether all that was kept is gone, and more is stored behind it. */
const isUsedUp = ({ messages, isComplete }: Inbox): boolean => messages.length === 0 && !isComplete;
const sizeOf = ({ messages }: Inbox): number => messages.reduce((sum, { content }) => sum + 64 + content.length, 128);

/**
 * To-device messages that wait for devices; they are deleted once the device has acknowledged them. Inboxes of devices that sync are in memory, bounded: an empty
 * one costs a sync nothing. Client-Server API, "Send-to-Device messaging".
 */
export class DeviceInboxes {
  readonly #database: Database;
  readonly #inboxes: LiveCache<Inbox>;

  /** @param cacheBytes of messages in memory, for all devices together */
  constructor(database: Database, accountStream: AccountStream, cacheBytes = 32 * 1024 * 1024) {
    this.#database = database;
    this.#inboxes = new LiveCache({ name: 'device_inboxes', maxSize: cacheBytes, sizeOf });
    accountStream.on('device_changed', ({ userId, deviceId, change }) => {
      if (change === 'deleted') this.forget(userId, deviceId);
    });
  }

  /** Whether something waits for a device; undefined when its inbox is not in memory. */
  peek(userId: string, deviceId: string): boolean | undefined {
    const inbox = this.#inboxes.peek(deviceKey(userId, deviceId));
    return inbox === undefined || isUsedUp(inbox) ? undefined : inbox.messages.length > 0;
  }

  /**
   * The oldest messages for a device.
   *
   * @param upTo the position up to which the answer tells everything
   * @param limit messages at most
   */
  async oldest(userId: string, deviceId: string, upTo: number, limit: number): Promise<InboxPart> {
    const { messages, isComplete } = await this.#open(userId, deviceId);
    const found: ToDeviceRecord[] = [];
    for (const message of messages) {
      if (message.pos > upTo || found.length === limit) break;
      found.push(message);
    }
    const last = found.at(-1);
    if (last === undefined) return EMPTY_INBOX;
    const next = messages[found.length];
    const hasMore = next === undefined ? !isComplete : next.pos <= upTo;
    return { messages: found.map(({ content }) => content), resumeAfter: hasMore ? last.pos : undefined };
  }

  /** Messages that are stored for a device after a position, for readers that do not delete them. */
  page(userId: string, deviceId: string, after: number, limit: number): Promise<ToDeviceRecord[]> {
    return storedToDevice(this.#database, userId, deviceId, after, limit);
  }

  /** Deletes what a device has received: everything up to a position. Costs a statement only where there is something. */
  async acknowledge(userId: string, deviceId: string, upTo: number): Promise<void> {
    const inbox = await this.#open(userId, deviceId);
    const first = inbox.messages[0];
    if (first === undefined || first.pos > upTo) return;
    await acknowledgeToDevice(this.#database, userId, deviceId, upTo);
    this.#inboxes.update(deviceKey(userId, deviceId), (its) => {
      its.messages = its.messages.filter(({ pos }) => pos > upTo);
    });
  }

  /** Deletes messages that arrived otherwise than by a sync of their devices. */
  async received(messages: readonly Pick<ToDeviceRow, 'userId' | 'deviceId' | 'pos'>[]): Promise<void> {
    await deleteToDevice(this.#database, messages);
    const gone = new Map<string, Set<number>>();
    for (const { userId, deviceId, pos } of messages) {
      const key = deviceKey(userId, deviceId);
      gone.set(key, (gone.get(key) ?? new Set()).add(pos));
    }
    for (const [key, positions] of gone)
      this.#inboxes.update(key, (inbox) => {
        inbox.messages = inbox.messages.filter(({ pos }) => !positions.has(pos));
      });
  }

  /** A message that was committed. */
  add(userId: string, deviceId: string, message: ToDeviceRecord): void {
    this.#inboxes.update(deviceKey(userId, deviceId), (inbox) => append(inbox, message));
  }

  /** Forgets what is in memory: the device was deleted, or it is unknown what was written. */
  forget(userId: string, deviceId: string): void {
    this.#inboxes.forget(deviceKey(userId, deviceId));
  }

  async #open(userId: string, deviceId: string): Promise<Inbox> {
    const key = deviceKey(userId, deviceId);
    for (;;) {
      const inbox = await this.#inboxes.get(key, () => this.#read(userId, deviceId));
      if (!isUsedUp(inbox)) return inbox;
      this.#inboxes.forget(key);
    }
  }

  async #read(userId: string, deviceId: string): Promise<Inbox> {
    const rows = await pendingToDevice(this.#database, userId, deviceId, KEPT + 1);
    return { messages: rows.slice(0, KEPT), isComplete: rows.length <= KEPT, newest: rows.at(-1)?.pos ?? -1 };
  }
}

const append = (inbox: Inbox, message: ToDeviceRecord): void => {
  // It was read after its commit and before it was published.
  if (message.pos <= inbox.newest) return;
  inbox.newest = message.pos;
  if (!inbox.isComplete) return;
  if (inbox.messages.length < KEPT) inbox.messages.push(message);
  else inbox.isComplete = false;
};
