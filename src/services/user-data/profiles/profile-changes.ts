import { Ongoing } from '#src/kernel/background.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { Signal } from '#src/kernel/signal.ts';
import { type PositionVector, SHARDS, shardOfName, shardOfPosition } from '#src/protocol/wire/position.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import {
  dueProfileChanges,
  markProfileChange,
  type ProfileChangeRow,
  profileChangesSince,
} from '#src/storage/user-data/profile-changes.ts';

/** Changes of each shard that are kept in memory. Older ones are read. */
const KEPT = 2_048;

export interface ProfileChangesOptions {
  readonly database: Database;
  readonly writer: Writer;
  readonly logger: Logger;
}

/**
 * Which fields of whose profiles changed when. A change is noted in the transaction that makes it, and gets its position right after the
 * commit; what a killed process left without one gets it at the next start.
 */
export class ProfileChanges {
  readonly #options: ProfileChangesOptions;
  /** The newest changes of each shard, ascending. */
  readonly #recent: ProfileChangeRow[][] = Array.from({ length: SHARDS }, () => []);
  /** After these positions, `#recent` has everything. */
  #horizon: number[] = [];
  readonly #publishing = new Ongoing<string>();
  /** Fires once a change is committed and has its position. */
  readonly changed = new Signal<ProfileChangeRow>();

  constructor(options: ProfileChangesOptions) {
    this.#options = options;
  }

  /** Begins to remember, and gives what was left over its position. The writer has started. */
  async start(): Promise<void> {
    this.#horizon = [...this.#options.writer.committed()];
    for (const { userId, field } of await dueProfileChanges(this.#options.database)) await this.#publish(userId, field);
  }

  /** Notes a change in the transaction that makes it. */
  async mark(tx: Tx, userId: string, field: string): Promise<void> {
    await markProfileChange(tx, userId, field);
    tx.afterCommit(() => {
      const published = this.#publish(userId, field).catch((err: unknown) => {
        // It stays noted, and is told at the next start if it does not change again before.
        this.#options.logger.error('a change of a profile could not be published', { user_id: userId, err });
      });
      this.#publishing.add(userId, published);
    });
  }

  /** Resolves when the changes of a user that were committed have their positions. */
  published(userId: string): Promise<void> {
    return this.#publishing.done(userId);
  }

  /** Resolves when every change that was committed has its position. */
  idle(): Promise<void> {
    return this.#publishing.idle();
  }

  /** The changes within a span, in no order, some fields more than once. Reads only what is no longer in memory. */
  async between(after: PositionVector, upTo: PositionVector): Promise<readonly ProfileChangeRow[]> {
    const isRemembered = this.#horizon.every((position, shard) => (after[shard] ?? 0) >= position);
    if (!isRemembered) return profileChangesSince(this.#options.database, after, upTo);
    return this.#recent.flatMap((changes, shard) => {
      const [first, last] = [after[shard] ?? 0, upTo[shard] ?? 0];
      const newest = changes.at(-1);
      return newest === undefined || newest.pos <= first ? [] : changes.filter(({ pos }) => pos > first && pos <= last);
    });
  }

  async #publish(userId: string, field: string): Promise<void> {
    const { writer } = this.#options;
    writer.assertAccepting();
    const pos = writer.allocate(shardOfName(userId));
    const change = { userId, field, pos };
    await writer.append({
      positions: [pos],
      streams: { profileChanges: [change] },
      publish: () => {
        this.#remember(change);
        this.changed.emit(change);
      },
    });
  }

  #remember(change: ProfileChangeRow): void {
    const shard = shardOfPosition(change.pos);
    const changes = this.#recent[shard];
    if (changes === undefined) return;
    changes.push(change);
    if (changes.length <= KEPT) return;
    const dropped = changes.splice(0, changes.length - KEPT / 2);
    this.#horizon[shard] = dropped.at(-1)?.pos ?? this.#horizon[shard] ?? 0;
  }
}
