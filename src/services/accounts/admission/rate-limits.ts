import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';

/**
 * Takes tokens of a user out of a bucket: all or none. Exempt users lose nothing.
 *
 * @param count how many
 * @throws MatrixError M_LIMIT_EXCEEDED
 */
export const takeTokens = (
  rateLimiter: RateLimiter,
  bucket: string,
  { userId, rateLimited }: Pick<Requester, 'userId'> & { readonly rateLimited?: boolean | undefined },
  count: number,
): void => {
  if (rateLimited === false || count === 0) return;
  const verdict = rateLimiter.take(bucket, userId, count);
  if (!verdict.ok) throw limitExceeded(bucket, verdict.retryAfterMs);
};
