import { Agent, type Dispatcher, errors } from 'undici';
import {
  guardedConnector,
  type GuardedConnectorOptions,
  RefusedAddressError,
  UnresolvedHostError,
} from './guarded-connector.ts';
import type { Hop } from './hops.ts';
import { failure, type OutboundFailure, type OutboundResult } from './outbound-result.ts';

export interface GuardedAgentOptions extends GuardedConnectorOptions {
  /** To one origin at the same time; further requests wait. */
  readonly connections: number;
  readonly userAgent: string;
}

export interface GuardedRequestLimits {
  readonly maxBodyBytes: (contentType: string) => number;
  /** Whether a longer body is cut there, and no failure. */
  readonly cuts: boolean;
  /** Milliseconds until the header of the answer is there, from when the connection stands. */
  readonly headersMs: number;
  /** Milliseconds between two pieces of the body. */
  readonly bodyMs: number;
}

const KEEP_ALIVE_MS = 10_000;

/** undici, talking only to addresses that the guard allows. Imported with the first request: a server without any does not load it. */
export class GuardedAgent {
  readonly #agent: Agent;
  readonly #userAgent: string;

  constructor({ connections, userAgent, ...connector }: GuardedAgentOptions) {
    this.#userAgent = userAgent;
    this.#agent = new Agent({
      connect: guardedConnector(connector),
      connections,
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
    });
  }

  /** Makes one request, without following redirects. Never rejects. */
  async request(hop: Hop, limits: GuardedRequestLimits, signal: AbortSignal): Promise<OutboundResult> {
    const { url } = hop;
    try {
      const { statusCode, headers, body } = await this.#agent.request({
        origin: url.origin,
        path: url.pathname + url.search,
        method: hop.method,
        headers: { 'user-agent': this.#userAgent, 'accept-encoding': 'identity', ...hop.headers },
        body: hop.body ?? null,
        headersTimeout: limits.headersMs,
        bodyTimeout: limits.bodyMs,
        signal,
      });
      const most = limits.maxBodyBytes(String(headers['content-type'] ?? ''));
      const { bytes, isCut } = await readUpTo(body, most);
      if (isCut && !limits.cuts) return failure('too_large', `${url.host} answered with more than ${most} bytes`);
      return { ok: true, status: statusCode, headers, body: bytes, isCut, url: url.href };
    } catch (error) {
      return failureOf(error, url.host, signal);
    }
  }

  /** Closes all connections, whatever is under way. */
  destroy(): Promise<void> {
    return this.#agent.destroy();
  }
}

/** The body, or its first `most` bytes as soon as it is longer. */
const readUpTo = async (
  body: Dispatcher.ResponseData['body'],
  most: number,
): Promise<{ readonly bytes: Buffer; readonly isCut: boolean }> => {
  const chunks: Buffer[] = [];
  let size = 0;
  // Breaking off is our own doing.
  body.on('error', () => undefined);
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length;
    chunks.push(chunk);
    if (size > most) return { bytes: Buffer.concat(chunks).subarray(0, most), isCut: true };
  }
  return { bytes: Buffer.concat(chunks), isCut: false };
};

const failureOf = (error: unknown, host: string, signal: AbortSignal): OutboundFailure => {
  if (error instanceof RefusedAddressError) return failure('refused_address', error.message);
  if (error instanceof UnresolvedHostError) return failure('unresolved', error.message);
  if (error instanceof errors.InvalidArgumentError)
    return failure('refused_url', `the request to ${host} cannot be made as it is: ${error.message}`);
  const isLate =
    error instanceof errors.ConnectTimeoutError ||
    error instanceof errors.HeadersTimeoutError ||
    error instanceof errors.BodyTimeoutError;
  if (isLate) return failure('timeout', `${host} took too long`);
  if (signal.aborted) return failure('aborted', 'the request was given up');
  const code = codeOf(error);
  if (error instanceof errors.HTTPParserError || BROKEN.has(code))
    return failure('broken', `${host} broke off (${code})`);
  return failure('unreachable', `${host} cannot be reached (${code})`);
};

const BROKEN: ReadonlySet<string> = new Set([
  'UND_ERR_SOCKET',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'UND_ERR_HEADERS_OVERFLOW',
  'UND_ERR_RES_EXCEEDED_MAX_SIZE',
  'ECONNRESET',
  'EPIPE',
]);

const codeOf = (error: unknown): string => {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : error instanceof Error ? error.name : 'unknown';
};
