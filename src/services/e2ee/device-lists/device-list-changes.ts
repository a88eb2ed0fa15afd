import { Ongoing } from '#src/kernel/background.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { Signal } from '#src/kernel/signal.ts';
import { type PositionVector, SHARDS, shardOfName, shardOfPosition } from '#src/protocol/wire/position.ts';
import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import {
  deviceChangesSince,
  dueDeviceChanges,
  type DueDeviceChange,
  markDeviceChanges,
} from '#src/storage/e2ee/device-changes.ts';

/** A change of a user's devices or keys: every user who shares a room with them is told, or one user alone. */
export interface DeviceListChange {
  readonly userId: string;
  /** Who alone is told, because only they see what changed: what they signed. */
  readonly seenBy: string | undefined;
  readonly pos: number;
}

export interface DeviceListChangesOptions {
  readonly database: Database;
  readonly writer: Writer;
  readonly accountStream: AccountStream;
  readonly logger: Logger;
  /** Changes of each shard that are kept in memory; default 4 096. Older ones are read. */
  readonly kept?: number;
}

/**
 * Whose devices or keys changed when. A change is noted in the transaction that makes it, and gets its position right after the commit;
 * what a killed process left without one gets it at the next start. Client-Server API, "Tracking the device list for a user".
 */
export class DeviceListChanges {
  readonly #options: DeviceListChangesOptions;
  readonly #kept: number;
  /** The newest changes of each shard, ascending. */
  readonly #recent: DeviceListChange[][] = Array.from({ length: SHARDS }, () => []);
  /** After these positions, `#recent` has everything. */
  #horizon: number[] = [];
  readonly #announced = new Set<string>();
  readonly #publishing = new Ongoing<string>();
  /** Fires once a change is committed and has its position. */
  readonly changed = new Signal<DeviceListChange>();

  constructor(options: DeviceListChangesOptions) {
    this.#options = options;
    this.#kept = options.kept ?? 4_096;
    options.accountStream.on('device_changed', ({ userId }) => this.#announce(userId));
  }

  /** Begins to remember, and gives what was left over its position. The writer has started. */
  async start(): Promise<void> {
    this.#horizon = [...this.#options.writer.committed()];
    for (const due of await dueDeviceChanges(this.#options.database)) await this.#publish(due);
  }

  /** Notes, in the transaction that makes it, a change of a user's devices or keys that everybody may see. */
  async mark(tx: Tx, userId: string): Promise<void> {
    await this.#mark(tx, [{ userId, seenBy: '' }]);
  }

  /** Notes that what `signer` alone is shown of these users' keys changed: what they signed, and their own user-signing key. */
  async markSigned(tx: Tx, signer: string, userIds: readonly string[]): Promise<void> {
    if (userIds.length > 0)
      await this.#mark(
        tx,
        userIds.map((userId) => ({ userId, seenBy: signer })),
      );
  }

  /** Gives a change that another service noted in its transaction its position; several of one turn of the event loop get one. */
  #announce(userId: string): undefined {
    if (this.#announced.size === 0)
      queueMicrotask(() => {
        const announced = [...this.#announced];
        this.#announced.clear();
        for (const changed of announced) this.#run({ userId: changed, seenBy: '' });
      });
    this.#announced.add(userId);
    return undefined;
  }

  /** Resolves when the changes of a user that were committed have their positions, so that the next sync tells it. */
  published(userId: string): Promise<void> {
    return this.#publishing.done(userId);
  }

  /** Resolves when every change that was committed has its position. */
  idle(): Promise<void> {
    return this.#publishing.idle();
  }

  /** The changes within a span, in no order, some users more than once. Reads only what is no longer in memory. */
  async between(after: PositionVector, upTo: PositionVector): Promise<DeviceListChange[]> {
    const isRemembered = this.#horizon.every((position, shard) => (after[shard] ?? 0) >= position);
    if (!isRemembered) return this.#read(after, upTo);
    const found: DeviceListChange[] = [];
    for (let shard = 0; shard < SHARDS; shard++) {
      const changes = this.#recent[shard] ?? [];
      const last = upTo[shard] ?? 0;
      const first = after[shard] ?? 0;
      for (let at = changes.length - 1; at >= 0; at--) {
        const change = changes[at];
        if (change === undefined || change.pos <= first) break;
        if (change.pos <= last) found.push(change);
      }
    }
    return found;
  }

  async #read(after: PositionVector, upTo: PositionVector): Promise<DeviceListChange[]> {
    const rows = await deviceChangesSince(this.#options.database, after, upTo);
    return rows.map(({ userId, seenBy, pos }) => ({ userId, seenBy: seenBy === '' ? undefined : seenBy, pos }));
  }

  async #mark(tx: Tx, changes: readonly DueDeviceChange[]): Promise<void> {
    await markDeviceChanges(tx, changes);
    tx.afterCommit(() => {
      for (const change of changes) this.#run(change);
    });
  }

  #run(change: DueDeviceChange): void {
    const published = this.#publish(change).catch((err: unknown) => {
      // It stays noted, and is told at the next start if no other change comes before.
      this.#options.logger.error('a change of devices could not be published', { user_id: change.userId, err });
    });
    this.#publishing.add(change.userId, published);
  }

  async #publish({ userId, seenBy }: DueDeviceChange): Promise<void> {
    const { writer } = this.#options;
    writer.assertAccepting();
    const pos = writer.allocate(shardOfName(userId));
    await writer.append({
      positions: [pos],
      devices: { changes: [{ userId, seenBy, pos }] },
      publish: () => {
        const change = { userId, seenBy: seenBy === '' ? undefined : seenBy, pos };
        this.#remember(change);
        this.changed.emit(change);
      },
    });
  }

  #remember(change: DeviceListChange): void {
    const shard = shardOfPosition(change.pos);
    const changes = this.#recent[shard];
    if (changes === undefined) return;
    changes.push(change);
    if (changes.length <= this.#kept) return;
    const dropped = changes.splice(0, changes.length - Math.ceil(this.#kept / 2));
    this.#horizon[shard] = dropped.at(-1)?.pos ?? this.#horizon[shard] ?? 0;
  }
}
