import type { Logger } from '#src/kernel/logger.ts';
import type { Subscribable } from '#src/kernel/signal.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { TurnCollector } from '#src/kernel/concurrency/turn-collector.ts';
import type { PositionVector } from '#src/protocol/wire/position.ts';
import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import { NotedChanges, type Positioned } from '#src/services/commit/noted-changes.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import {
  deviceChangesSince,
  dueDeviceChanges,
  type DueDeviceChange,
  markDeviceChanges,
} from '#src/storage/e2ee/device-changes.ts';

/** A change of a user's devices or keys: shown to every user who shares a room with them, or to one user only. */
interface DeviceChange {
  readonly userId: string;
  /** The only user to whom it is shown, because only they see what changed: what they signed. */
  readonly seenBy: string | undefined;
}

export type DeviceListChange = Positioned<DeviceChange>;

export interface DeviceListChangesOptions {
  readonly database: Database;
  readonly writer: Writer;
  readonly accountStream: AccountStream;
  readonly timers: Timers;
  readonly logger: Logger;
}

/** Changes of each shard that are kept in memory. Older ones are read. */
const KEPT = 4_096;

/** Records when users' devices or keys changed. Client-Server API, "Tracking the device list for a user". */
export class DeviceListChanges {
  readonly #noted: NotedChanges<DeviceChange>;
  /** Several changes of a user in one turn of the event loop get one position. */
  readonly #announced = new TurnCollector<string>((userId) => this.#noted.publish({ userId, seenBy: undefined }));
  /** Fires once a change is committed and has its position. */
  readonly changed: Subscribable<DeviceListChange>;

  constructor({ accountStream, database, ...options }: DeviceListChangesOptions) {
    this.#noted = new NotedChanges({
      ...options,
      name: 'device changes',
      kept: KEPT,
      keyOf: ({ seenBy = '', userId }) => `${userId} ${seenBy}`,
      due: async () => (await dueDeviceChanges(database)).map(changeOf),
      write: ({ pos, seenBy = '', userId }) => ({ devices: { changes: [{ userId, seenBy, pos }] } }),
      read: async (after, upTo, most) =>
        (await deviceChangesSince(database, after, upTo, most)).map((row) => ({ ...changeOf(row), pos: row.pos })),
    });
    this.changed = this.#noted.changed;
    // The change was noted by the service that made it, in its transaction.
    accountStream.on('device_changed', ({ userId }) => {
      this.#announced.add(userId);
    });
  }

  /** Begins to remember, and gives what was left over its position. The writer has started. */
  start(): Promise<void> {
    return this.#noted.start();
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

  /** Resolves when the changes of a user that were committed have their positions, so that the next sync tells it. */
  published(userId: string): Promise<void> {
    return this.#noted.published(userId);
  }

  /** Resolves when every change that was committed has its position, or will be tried again later. */
  idle(): Promise<void> {
    return this.#noted.idle();
  }

  close(): Promise<void> {
    return this.#noted.close();
  }

  /** The changes within a span, in no order, some users more than once. Reads only what is no longer in memory. */
  between(after: PositionVector, upTo: PositionVector): Promise<readonly DeviceListChange[]> {
    return this.#noted.between(after, upTo);
  }

  /** The same for a reader who may choose a long span; undefined where there are too many. */
  fewBetween(after: PositionVector, upTo: PositionVector): Promise<readonly DeviceListChange[] | undefined> {
    return this.#noted.fewBetween(after, upTo);
  }

  async #mark(tx: Tx, changes: readonly DueDeviceChange[]): Promise<void> {
    await markDeviceChanges(tx, changes);
    tx.afterCommit(() => {
      for (const change of changes) this.#noted.publish(changeOf(change));
    });
  }
}

const changeOf = ({ seenBy, userId }: DueDeviceChange): DeviceChange => ({
  userId,
  seenBy: seenBy === '' ? undefined : seenBy,
});
