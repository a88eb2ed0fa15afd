import { Agent, type Dispatcher } from 'undici';
import { GuardedConnector, type GuardedConnectorOptions } from './guarded-connector.ts';
import type { Hop } from './hops.ts';
import { failureOf } from './outbound-failures.ts';
import { failure, type OutboundAnswer, type OutboundFailure, type OutboundResult } from './outbound-result.ts';
import { readUpTo } from './read-up-to.ts';

export interface GuardedAgentOptions extends GuardedConnectorOptions {
  /** To one origin at the same time; further requests wait. */
  readonly connections: number;
  readonly userAgent: string;
}

export interface GuardedRequestLimits {
  readonly maxBodyBytes: (contentType: string) => number;
  /** Whether a longer body is cut there instead of failing. */
  readonly cuts: boolean;
  /** Milliseconds until the header of the answer is there, from when the connection stands. */
  readonly headersMs: number;
  /** Milliseconds between two pieces of the body. */
  readonly bodyMs: number;
}

/** An answer whose body is still to be read. */
export interface OpenedAnswer extends Pick<OutboundAnswer, 'ok' | 'status' | 'headers'> {
  readonly body: Dispatcher.ResponseData['body'];
}

const KEEP_ALIVE_MS = 10_000;

/** undici, talking only to addresses that the guard allows. Imported with the first request: a server without any does not load it. */
export class GuardedAgent {
  readonly #agent: Agent;
  readonly #connector: GuardedConnector;
  readonly #userAgent: string;

  constructor({ connections, userAgent, ...connector }: GuardedAgentOptions) {
    this.#userAgent = userAgent;
    this.#connector = new GuardedConnector(connector);
    this.#agent = new Agent({
      connect: this.#connector.forUndici,
      connections,
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
    });
  }

  /** Makes one request, without following redirects. Never rejects. */
  async request(hop: Hop, limits: GuardedRequestLimits, signal: AbortSignal): Promise<OutboundResult> {
    const { url } = hop;
    const opened = await this.open(hop, limits, signal);
    if (!opened.ok) return opened;
    const { body, headers, status } = opened;
    try {
      const most = limits.maxBodyBytes(String(headers['content-type'] ?? ''));
      const { bytes, isCut } = await readUpTo(body, most);
      if (isCut && !limits.cuts) return failure('too_large', `${url.host} answered with more than ${most} bytes`);
      return { ok: true, status, headers, body: bytes, isCut, url: url.href };
    } catch (error) {
      return failureOf(error, url.host, signal);
    }
  }

  /** The same up to where the body begins, which has to be read or destroyed. Never rejects. */
  async open(
    hop: Hop,
    limits: Pick<GuardedRequestLimits, 'headersMs' | 'bodyMs'>,
    signal: AbortSignal,
  ): Promise<OpenedAnswer | OutboundFailure> {
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
      return { ok: true, status: statusCode, headers, body };
    } catch (error) {
      return failureOf(error, url.host, signal);
    }
  }

  /** Closes all connections, whatever is under way. */
  async destroy(): Promise<void> {
    this.#connector.close();
    await this.#agent.destroy();
  }
}
