import { LiveCache } from '#src/kernel/caches/live-cache.ts';
import { Signal } from '#src/kernel/signal.ts';
import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import type { Database } from '#src/storage/database.ts';
import { countKeys, type KeyCountRecord } from '#src/storage/e2ee/one-time-keys.ts';
import { deviceKey } from '#src/protocol/identifiers/device-names.ts';

/** What is left of a device's keys. Client-Server API, "Extensions to /sync" of "End-to-End Encryption". */
export interface KeyCounts {
  /** Unclaimed one-time keys by algorithm. */
  readonly oneTime: Readonly<Record<string, number>>;
  /** The algorithms whose fallback key was not used yet. */
  readonly unusedFallback: readonly string[];
}

export const keyCountsOf = (records: readonly KeyCountRecord[]): KeyCounts => ({
  // Clients without any key of this kind upload some when they are told so, and some never do when the member is missing.
  oneTime: Object.fromEntries([
    ['signed_curve25519', 0],
    ...records.filter(({ count }) => count > 0).map(({ algorithm, count }) => [algorithm, count] as const),
  ]) as Record<string, number>,
  unusedFallback: records.filter(({ hasUnusedFallback }) => hasUnusedFallback).map(({ algorithm }) => algorithm),
});

/** How many keys devices have left. Those in use are in memory. */
export class DeviceKeyCounts {
  readonly #database: Database;
  readonly #counts: LiveCache<KeyCounts>;
  /** Fires when keys of a device were uploaded or claimed. */
  readonly changed = new Signal<{ readonly userId: string; readonly deviceId: string }>();

  constructor(database: Database, accountStream: AccountStream, cacheSize = 50_000) {
    this.#database = database;
    this.#counts = new LiveCache({ name: 'key_counts', maxSize: cacheSize });
    accountStream.on('device_changed', ({ userId, deviceId, change }) => {
      if (change === 'deleted') this.stale(userId, deviceId);
    });
  }

  /** The counts of a device if they are in memory. */
  peek(userId: string, deviceId: string): KeyCounts | undefined {
    return this.#counts.peek(deviceKey(userId, deviceId));
  }

  /** The counts of a device, read in one statement when they are not in memory. */
  of(userId: string, deviceId: string): Promise<KeyCounts> {
    return this.#counts.get(deviceKey(userId, deviceId), async () =>
      keyCountsOf(await countKeys(this.#database, userId, deviceId)),
    );
  }

  /** Forgets what was known: the keys changed. */
  stale(userId: string, deviceId: string): void {
    this.#counts.forget(deviceKey(userId, deviceId));
    this.changed.emit({ userId, deviceId });
  }
}
