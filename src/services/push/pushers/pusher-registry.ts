import type { Clock } from '#src/kernel/clock.ts';
import { RecentChanges } from '#src/kernel/caches/recent-changes.ts';
import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import type { Database } from '#src/storage/database.ts';
import { pushersPage, type PusherRecord } from '#src/storage/push/pushers.ts';

const PAGE = 1_000;
/** Changes that are remembered, for caches of the pushers of many users. */
const REMEMBERED_CHANGES = 1_000;

/** What is needed of a pusher for every event: the rest is read when something is sent to it. */
export interface PusherRef {
  /** Its id as the name of a destination. */
  readonly destination: string;
  readonly userId: string;
  readonly deviceId: string | null;
  readonly enabled: boolean;
  /** Its place in the push log: what came before does not concern it. */
  readonly since: number;
  /** When it was made or enabled, in milliseconds; 0 for those that were there when the process started. */
  readonly sinceTs: number;
  /** Scheme, host and port of its push gateway; empty for pushers without one. */
  readonly gateway: string;
  /** Whether it is sent unread counts (MSC4076). */
  readonly wantsCounts: boolean;
}

const gateways = new Map<string, string>();

/** The same text for the same gateway: there are few of them. */
const interned = (gateway: string): string => {
  const known = gateways.get(gateway);
  if (known !== undefined) return known;
  if (gateways.size >= 10_000) gateways.clear();
  gateways.set(gateway, gateway);
  return gateway;
};

/** The `data` of a pusher. */
export const pusherData = ({ data }: Pick<PusherRecord, 'data'>): JsonObject => {
  const parsed: unknown = JSON.parse(data);
  return isJsonObject(parsed) ? parsed : {};
};

const refOf = (pusher: PusherRecord, sinceTs: number): PusherRef => {
  const data = pusherData(pusher);
  const url = data['url'];
  return {
    destination: String(pusher.id),
    userId: pusher.userId,
    deviceId: pusher.deviceId,
    enabled: pusher.enabled,
    since: pusher.since,
    sinceTs,
    gateway: typeof url === 'string' && URL.canParse(url) ? interned(new URL(url).origin) : '',
    wantsCounts: data['org.matrix.msc4076.disable_badge_count'] !== true && data['disable_badge_count'] !== true,
  };
};

/** Whether a pusher is sent unread counts. */
export const takesCounts = (pusher: PusherRef): boolean => pusher.enabled && pusher.wantsCounts;

/** All HTTP pushers, in memory, a few words each, so that an event in a room without any costs nothing. */
export class PusherRegistry {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #byDestination = new Map<string, PusherRef>();
  readonly #byUser = new Map<string, readonly PusherRef[]>();
  /** The unread count that was last sent to each pusher; those that were sent none are left out. */
  readonly #sentCounts = new Map<string, number>();
  /** Users whose pushers changed, the latest last. */
  readonly #changes = new RecentChanges<string>(REMEMBERED_CHANGES);

  constructor(database: Database, clock: Clock, accounts: AccountStream) {
    this.#database = database;
    this.#clock = clock;
    // Its row went with the device.
    accounts.on('device_changed', ({ userId, deviceId, change }) => {
      if (change !== 'deleted') return;
      for (const ref of this.of(userId)) if (ref.deviceId === deviceId) this.remove(ref.destination);
    });
  }

  /** Reads them all. */
  async load(): Promise<void> {
    for (let after = 0; ;) {
      const page = await pushersPage(this.#database, after, PAGE);
      for (const pusher of page) {
        this.#put(pusher, 0);
        this.setLastSentCount(String(pusher.id), pusher.told);
      }
      after = page.at(-1)?.id ?? after;
      if (page.length < PAGE) return;
    }
  }

  get size(): number {
    return this.#byDestination.size;
  }

  /** Counts the changes of all pushers. */
  get version(): number {
    return this.#changes.version;
  }

  /** Users whose pushers changed after a version; undefined when that is too long ago. */
  changedSince(version: number): readonly string[] | undefined {
    return this.#changes.since(version);
  }

  byDestination(destination: string): PusherRef | undefined {
    return this.#byDestination.get(destination);
  }

  of(userId: string): readonly PusherRef[] {
    return this.#byUser.get(userId) ?? [];
  }

  /** Users who have any, in no order. */
  users(): Iterable<string> {
    return this.#byUser.keys();
  }

  has(userId: string): boolean {
    return this.#byUser.has(userId);
  }

  get userCount(): number {
    return this.#byUser.size;
  }

  /** The unread count that was last sent to a pusher. */
  lastSentCountOf(destination: string): number {
    return this.#sentCounts.get(destination) ?? 0;
  }

  setLastSentCount(destination: string, unread: number): void {
    if (unread === 0) this.#sentCounts.delete(destination);
    else this.#sentCounts.set(destination, unread);
  }

  /** Adds a pusher as it is committed. */
  put(pusher: PusherRecord): void {
    const before = this.#byDestination.get(String(pusher.id));
    this.#put(pusher, before?.enabled === true ? before.sinceTs : this.#clock.now());
  }

  #put(pusher: PusherRecord, sinceTs: number): void {
    if (pusher.kind !== 'http') {
      this.remove(String(pusher.id));
      return;
    }
    const ref = refOf(pusher, sinceTs);
    this.#byDestination.set(ref.destination, ref);
    const others = this.of(ref.userId).filter(({ destination }) => destination !== ref.destination);
    this.#byUser.set(ref.userId, [...others, ref]);
    this.#changes.note(ref.userId);
  }

  /** Removes a deleted pusher. */
  remove(destination: string): void {
    const ref = this.#byDestination.get(destination);
    if (ref === undefined) return;
    this.#byDestination.delete(destination);
    this.#sentCounts.delete(destination);
    const others = this.of(ref.userId).filter((one) => one.destination !== destination);
    if (others.length === 0) this.#byUser.delete(ref.userId);
    else this.#byUser.set(ref.userId, others);
    this.#changes.note(ref.userId);
  }
}
