import { createHash } from 'node:crypto';
import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import { shadowBannedUsers } from '#src/storage/accounts/accounts.ts';
import type { Database } from '#src/storage/database.ts';

/** Whose sends look accepted and reach nobody. */
export interface ShadowBanned {
  has(userId: string): boolean;
}

export const NOBODY_SHADOW_BANNED: ShadowBanned = { has: () => false };

/** The users whom administrators have shadow-banned: few, and in memory all of them. */
export class ShadowBans implements ShadowBanned {
  readonly #database: Database;
  readonly #userIds = new Set<string>();

  constructor(database: Database, stream: AccountStream) {
    this.#database = database;
    stream.on('changed', ({ userId, changes: { shadowBanned } }) => {
      if (shadowBanned === true) this.#userIds.add(userId);
      if (shadowBanned === false) this.#userIds.delete(userId);
    });
  }

  /** Learns of those who were banned before this process. To be called before any request is served. */
  async start(): Promise<void> {
    for (const userId of await shadowBannedUsers(this.#database)) this.#userIds.add(userId);
  }

  has(userId: string): boolean {
    return this.#userIds.has(userId);
  }
}

/** What stands for an id that was never given out: the same for the same parts, so that a client that repeats a request gets the same answer. */
export const pretendedDigest = (...parts: readonly string[]): Buffer =>
  createHash('sha256')
    .update(JSON.stringify(['shadow', ...parts]))
    .digest();
