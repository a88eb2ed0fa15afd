import type { BytesInFlight } from '#src/kernel/limits/bytes-in-flight.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Metrics } from '#src/kernel/metrics.ts';
import type { Random } from '#src/kernel/random.ts';
import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import type { Timers } from '#src/kernel/timers.ts';
import type { Turns } from '#src/kernel/event-loop/turns.ts';
import type { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { Authenticators } from './middleware/authentication.ts';
import type { RequestLogOptions } from './middleware/request-log.ts';

/** Bounds on what one request may use. */
export interface HttpLimits {
  /** Bytes of a body, unless the endpoint declares `maxBodyBytes`. */
  readonly maxBodyBytes: number;
  /** Bytes of a body for which an endpoint declares the limit `upload`. */
  readonly maxUploadBytes: number;
  /** The same for requests without an account, which any client can send. */
  readonly maxStrangerBodyBytes: number;
  /** Values in the JSON of a body, counted by its brackets, commas and colons. */
  readonly maxJsonValues: number;
  /** Milliseconds in which a body must have arrived. */
  readonly bodyTimeoutMs: number;
  /** Milliseconds in which an answer must have been read; a long one has a second more for every 16 KiB. */
  readonly answerTimeoutMs: number;
  /** Requests that may be running at once; long-polls count. More are answered 429. */
  readonly maxConcurrentRequests: number;
  /** Bytes from which on a body is compressed, when the client accepts that. */
  readonly compressFromBytes: number;
}

export const DEFAULT_HTTP_LIMITS: HttpLimits = {
  maxBodyBytes: 1024 * 1024,
  maxUploadBytes: 50 * 1024 * 1024,
  maxStrangerBodyBytes: 16 * 1024,
  maxJsonValues: 100_000,
  bodyTimeoutMs: 30_000,
  answerTimeoutMs: 30_000,
  maxConcurrentRequests: 20_000,
  compressFromBytes: 32 * 1024,
};

export const DEFAULT_REQUEST_LOG: RequestLogOptions = { level: 'debug', slowMs: 1_000 };

/** What the HTTP layer needs from the rest of the server. */
export interface HttpDependencies extends Authenticators {
  /** Told of every authenticated request: when a device was last seen. */
  readonly seen?: (requester: Requester, ip: string, userAgent: string | undefined) => void;
  readonly rateLimiter: RateLimiter;
  /** What a client is answered for an error that is not a bug of this program, such as an unreachable database; undefined for others. */
  readonly explain?: (error: unknown) => MatrixError | undefined;
  /** Decides in which order requests begin; when left out, they begin at once. */
  readonly turns?: Turns;
  /** The budget of memory for bodies and answers; a new one of the default size when left out. */
  readonly bytesInFlight?: BytesInFlight;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Addresses or networks (`10.0.0.0/8`) of reverse proxies whose X-Forwarded-For is believed. */
  readonly trustedProxies: readonly string[];
  /** Aborted when the server begins to drain: `HttpServer.drainSignal`. */
  readonly drainSignal: AbortSignal;
  readonly limits?: Partial<HttpLimits>;
  readonly requestLog?: Partial<RequestLogOptions>;
}
