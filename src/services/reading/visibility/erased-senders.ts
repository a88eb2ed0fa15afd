import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import type { Database } from '#src/storage/database.ts';
import { erasedUsers } from '#src/storage/accounts/accounts.ts';

/** Erased users: readers who were not in the room get their events in redacted form. */
export interface ErasedSenders {
  /** Whether there are any. */
  readonly isEmpty: boolean;
  has(userId: string): boolean;
}

export const NOBODY_ERASED: ErasedSenders = { isEmpty: true, has: () => false };

/** The local users who had "their content erased as much as possible"; all of them are in memory, since they are few. */
export class ErasedUsers implements ErasedSenders {
  readonly #database: Database;
  readonly #userIds = new Set<string>();

  constructor(database: Database, stream: AccountStream) {
    this.#database = database;
    stream.on('changed', ({ userId, changes: { erased } }) => {
      if (erased === true) this.#userIds.add(userId);
    });
  }

  /** Loads them. To be called before any request is served. */
  async start(): Promise<void> {
    for (const userId of await erasedUsers(this.#database)) this.#userIds.add(userId);
  }

  get isEmpty(): boolean {
    return this.#userIds.size === 0;
  }

  has(userId: string): boolean {
    return this.#userIds.has(userId);
  }
}
