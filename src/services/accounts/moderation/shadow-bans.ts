import { createHash } from 'node:crypto';
import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import { shadowBannedUsers } from '#src/storage/accounts/accounts.ts';
import type { Database } from '#src/storage/database.ts';

/** Shadow-banned users: what they send looks accepted and reaches no other user. */
export interface ShadowBanned {
  has(userId: string): boolean;
}

export const NOBODY_SHADOW_BANNED: ShadowBanned = { has: () => false };

/** The users that administrators have shadow-banned; all of them are in memory, since they are few. */
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

  /** Loads them. To be called before any request is served. */
  async start(): Promise<void> {
    for (const userId of await shadowBannedUsers(this.#database)) this.#userIds.add(userId);
  }

  has(userId: string): boolean {
    return this.#userIds.has(userId);
  }
}

/** The digest for a made-up id: the same for the same parts, so that a client that repeats a request gets the same answer. */
export const pretendedDigest = (...parts: readonly string[]): Buffer =>
  createHash('sha256')
    .update(JSON.stringify(['shadow', ...parts]))
    .digest();
