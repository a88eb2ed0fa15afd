import type { RateLimiter } from '#src/kernel/rate-limiter.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { Method } from './method.ts';

/**
 * Takes out of the buckets of HTTP: a user has no more of them for using both.
 *
 * @throws MatrixError M_LIMIT_EXCEEDED
 */
export const takeToken = (limiter: RateLimiter, bucket: Method['rateLimit'], requester: Requester): void => {
  if (bucket === 'none' || !requester.rateLimited) return;
  const verdict = limiter.take(bucket, requester.userId);
  if (verdict.ok) return;
  throw new MatrixError(
    'M_LIMIT_EXCEEDED',
    `Too many requests: the limiter ${bucket} asks to wait ${verdict.retryAfterMs} ms.`,
    { retry_after_ms: verdict.retryAfterMs, 'org.tsudoi.limiter': bucket },
  );
};
