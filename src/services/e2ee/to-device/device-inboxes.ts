import { CountedCache } from '#src/kernel/counted-cache.ts';
import type { LRUCache } from 'lru-cache';
import { OnceByKey } from '#src/kernel/once.ts';
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

/** Messages of one device that are kept in memory. Those behind them are read when the device has received these. */
const KEPT = 200;

/** The oldest messages that wait for a device, in order. */
interface Inbox {
  readonly messages: ToDeviceRecord[];
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

const NOTHING: InboxPart = { messages: [], resumeAfter: undefined };

const keyOf = (userId: string, deviceId: string): string => `${userId} ${deviceId}`;
const sizeOf = ({ messages }: Inbox): number => messages.reduce((sum, { content }) => sum + 64 + content.length, 128);

/**
 * To-device messages that wait for devices; they are deleted once the device has acknowledged them. Inboxes of devices that sync are in memory, bounded: an empty
 * one costs a sync nothing. Client-Server API, "Send-to-Device messaging".
 */
export class DeviceInboxes {
  readonly #database: Database;
  readonly #inboxes: LRUCache<string, Inbox>;
  readonly #loading = new OnceByKey<string, Inbox>();
  /** What was committed while an inbox is being read. */
  readonly #early = new Map<string, ToDeviceRecord[]>();

  /** @param cacheBytes of messages in memory, for all devices together */
  constructor(database: Database, accountStream: AccountStream, cacheBytes = 32 * 1024 * 1024) {
    this.#database = database;
    this.#inboxes = new CountedCache('device_inboxes', { maxSize: cacheBytes, sizeCalculation: sizeOf });
    accountStream.on('device_changed', ({ userId, deviceId, change }) => {
      if (change === 'deleted') this.forget(userId, deviceId);
    });
  }

  /** Whether something waits for a device; undefined when its inbox is not in memory. */
  peek(userId: string, deviceId: string): boolean | undefined {
    const inbox = this.#inboxes.get(keyOf(userId, deviceId));
    return inbox === undefined ? undefined : inbox.messages.length > 0;
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
    if (last === undefined) return NOTHING;
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
    const left = inbox.messages.findIndex(({ pos }) => pos > upTo);
    inbox.messages.splice(0, left < 0 ? inbox.messages.length : left);
    const key = keyOf(userId, deviceId);
    if (this.#inboxes.peek(key) !== inbox) return;
    if (inbox.messages.length === 0 && !inbox.isComplete) this.#inboxes.delete(key);
    else this.#inboxes.set(key, inbox);
  }

  /** Deletes messages that arrived otherwise than by a sync of their devices. */
  async received(messages: readonly Pick<ToDeviceRow, 'userId' | 'deviceId' | 'pos'>[]): Promise<void> {
    await deleteToDevice(this.#database, messages);
    const gone = new Map<string, Set<number>>();
    for (const { userId, deviceId, pos } of messages) {
      const key = keyOf(userId, deviceId);
      // What is being read may have been read before.
      if (this.#early.has(key)) await this.#open(userId, deviceId);
      gone.set(key, (gone.get(key) ?? new Set()).add(pos));
    }
    for (const [key, positions] of gone) {
      const inbox = this.#inboxes.peek(key);
      if (inbox === undefined) continue;
      const left = inbox.messages.filter(({ pos }) => !positions.has(pos));
      if (left.length === 0 && !inbox.isComplete) this.#inboxes.delete(key);
      else this.#inboxes.set(key, { ...inbox, messages: left });
    }
  }

  /** A message that was committed. */
  add(userId: string, deviceId: string, message: ToDeviceRecord): void {
    const key = keyOf(userId, deviceId);
    this.#early.get(key)?.push(message);
    const inbox = this.#inboxes.peek(key);
    if (inbox === undefined) return;
    append(inbox, message);
    this.#inboxes.set(key, inbox);
  }

  /** Forgets what is in memory: the device was deleted, or it is unknown what was written. */
  forget(userId: string, deviceId: string): void {
    this.#inboxes.delete(keyOf(userId, deviceId));
  }

  #open(userId: string, deviceId: string): Promise<Inbox> {
    const key = keyOf(userId, deviceId);
    const known = this.#inboxes.get(key);
    if (known !== undefined) return Promise.resolve(known);
    return this.#loading.run(key, async () => {
      const early: ToDeviceRecord[] = [];
      this.#early.set(key, early);
      try {
        const rows = await pendingToDevice(this.#database, userId, deviceId, KEPT + 1);
        const inbox: Inbox = {
          messages: rows.slice(0, KEPT),
          isComplete: rows.length <= KEPT,
          newest: rows.at(-1)?.pos ?? -1,
        };
        for (const message of early) append(inbox, message);
        this.#inboxes.set(key, inbox);
        return inbox;
      } finally {
        this.#early.delete(key);
      }
    });
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
