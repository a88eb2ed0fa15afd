import type { Logger } from '#src/kernel/logger.ts';
import type { Subscribable } from '#src/kernel/signal.ts';
import type { Timers } from '#src/kernel/timers.ts';
import type { PositionVector } from '#src/protocol/wire/position.ts';
import { NotedChanges } from '#src/services/commit/noted-changes.ts';
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
  readonly timers: Timers;
  readonly logger: Logger;
}

/** Records when which fields of users' profiles changed. */
export class ProfileChanges {
  readonly #noted: NotedChanges<Omit<ProfileChangeRow, 'pos'>>;
  /** Fires once a change is committed and has its position. */
  readonly changed: Subscribable<ProfileChangeRow>;

  constructor({ database, ...options }: ProfileChangesOptions) {
    this.#noted = new NotedChanges({
      ...options,
      name: 'profile changes',
      kept: KEPT,
      keyOf: ({ field, userId }) => `${userId} ${field}`,
      due: () => dueProfileChanges(database),
      write: (change) => ({ streams: { profileChanges: [change] } }),
      read: (after, upTo, most) => profileChangesSince(database, after, upTo, most),
    });
    this.changed = this.#noted.changed;
  }

  /** Begins to remember, and gives what was left over its position. The writer has started. */
  start(): Promise<void> {
    return this.#noted.start();
  }

  /** Notes a change in the transaction that makes it. */
  async mark(tx: Tx, userId: string, field: string): Promise<void> {
    await markProfileChange(tx, userId, field);
    tx.afterCommit(() => this.#noted.publish({ userId, field }));
  }

  /** Resolves when the changes of a user that were committed have their positions. */
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

  /**
   * The changes within a span, in no order, some fields more than once; undefined where there are too many. Reads only what is no longer in
   * memory.
   */
  fewBetween(after: PositionVector, upTo: PositionVector): Promise<readonly ProfileChangeRow[] | undefined> {
    return this.#noted.fewBetween(after, upTo);
  }
}
