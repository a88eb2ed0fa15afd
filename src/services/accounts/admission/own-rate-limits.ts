import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import { accountsWithOwnLimits } from '#src/storage/accounts/accounts.ts';
import type { Database } from '#src/storage/database.ts';

/** The rate limit that administrators can set for single users. */
const BUCKET = 'message';

/** Rate limits of single users, in place of the configured one. */
export class OwnRateLimits {
  readonly #database: Database;
  readonly #rateLimiter: RateLimiter;

  constructor(deps: {
    readonly database: Database;
    readonly rateLimiter: RateLimiter;
    readonly stream: AccountStream;
  }) {
    this.#database = deps.database;
    this.#rateLimiter = deps.rateLimiter;
    deps.stream.on('changed', ({ userId, changes: { messagesBurst, messagesPerSecond } }) => {
      if (messagesPerSecond !== undefined) this.#apply(userId, messagesPerSecond, messagesBurst ?? null);
    });
  }

  async start(): Promise<void> {
    for (const { messagesBurst, messagesPerSecond, userId } of await accountsWithOwnLimits(this.#database))
      this.#apply(userId, messagesPerSecond, messagesBurst);
  }

  /** Users who are exempt have no bucket to begin with. */
  #apply(userId: string, perSecond: number | null, burst: number | null): void {
    const limit = perSecond === null || perSecond === 0 ? undefined : { perSecond, burst: Math.max(burst ?? 1, 1) };
    this.#rateLimiter.setOwn(BUCKET, userId, limit);
  }
}
