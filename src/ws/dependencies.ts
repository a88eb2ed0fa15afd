import type { BytesInFlight } from '#src/kernel/limits/bytes-in-flight.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Metrics } from '#src/kernel/metrics.ts';
import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import type { Timers } from '#src/kernel/timers.ts';
import type { Turns } from '#src/kernel/event-loop/turns.ts';
import type { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { WebSocketServices } from './services.ts';

/** Bounds on what one socket may use. */
export interface WebSocketLimits {
  /** Bytes of a frame from a client. */
  readonly maxFrameBytes: number;
  /** The same before authentication. */
  readonly maxStrangerFrameBytes: number;
  /** Values in the JSON of a frame, see `measureJson`. */
  readonly maxJsonValues: number;
  /** Requests of one socket that may be running at once; more are answered M_LIMIT_EXCEEDED. */
  readonly maxInFlight: number;
  /**
   * Bytes that may wait for a reader before nothing more is pushed. A frame is made in one piece, so that it may be more by one; the
   * bound is never lower than what the operating system's stream holds, 64 KiB.
   */
  readonly maxQueueBytes: number;
  /** Milliseconds between two pings; a peer that leaves two of them unanswered is dead. A whole number of seconds. */
  readonly heartbeatMs: number;
  /** Milliseconds in which a new socket must have authenticated. */
  readonly authTimeoutMs: number;
  /** Requests refused for their number or their form between two heartbeats before the socket is closed. */
  readonly maxRefusals: number;
  /** Pings and pongs between two heartbeats before the socket is closed. */
  readonly maxControlFrames: number;
}

export const DEFAULT_WEBSOCKET_LIMITS: WebSocketLimits = {
  maxFrameBytes: 128 * 1024,
  maxStrangerFrameBytes: 16 * 1024,
  maxJsonValues: 20_000,
  maxInFlight: 16,
  maxQueueBytes: 256 * 1024,
  heartbeatMs: 30_000,
  authTimeoutMs: 10_000,
  maxRefusals: 100,
  maxControlFrames: 100,
};

/** What the WebSocket API needs from the rest of the server. */
export interface WebSocketDependencies {
  readonly services: WebSocketServices;
  /** The one of HTTP, so that both take out of the same buckets. */
  readonly rateLimiter: RateLimiter;
  /** What a client is told of an error that is no mistake of this program; undefined for others. */
  readonly explain?: (error: unknown) => MatrixError | undefined;
  /** Those of HTTP; when left out, requests begin at once. */
  readonly turns?: Turns;
  /** The one of HTTP; one of its own, of the usual size, when left out. */
  readonly bytesInFlight?: BytesInFlight;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Aborted when the server begins to drain: `HttpServer.drainSignal`. */
  readonly drainSignal: AbortSignal;
  /** The client's address past the proxies that are trusted; that of the connection when left out. */
  readonly clientAddress?: (
    remoteAddress: string | undefined,
    forwardedFor: string | readonly string[] | undefined,
  ) => string;
  /** Told of every socket that authenticates, and of it with every heartbeat. */
  readonly seen?: (requester: Requester, ip: string, userAgent: string | undefined) => void;
  readonly limits?: Partial<WebSocketLimits>;
}
