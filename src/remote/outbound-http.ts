import { Agent, type Dispatcher, errors } from 'undici';
import { Gate } from '#src/kernel/gate.ts';
import type { Timers } from '#src/kernel/timers.ts';
import type { AddressGuard } from './address-guard.ts';
import { firstHop, type Hop, nextHop, redirectOf } from './hops.ts';
import { guardedConnector, RefusedAddressError, type Resolve, UnresolvedHostError } from './guarded-connector.ts';

/** Milliseconds. */
export interface OutboundTimeouts {
  /** Until the header of the answer is there, from when the connection stands. */
  readonly headersMs: number;
  /** Between two pieces of the body. */
  readonly bodyMs: number;
  /** For all of it: waiting for a turn, connecting, redirects, body. */
  readonly totalMs: number;
}

export interface OutboundRequest {
  readonly method: Hop['method'];
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body?: string | Uint8Array | undefined;
  /** Bytes of the answer's body at most; 1 MiB by default. */
  readonly maxBodyBytes?: number | undefined;
  readonly timeouts?: Partial<OutboundTimeouts> | undefined;
  /** Redirects to follow, each of them guarded like the first request. None by default: a redirect is the answer then. */
  readonly maxRedirects?: number | undefined;
  /** Whether `http:` will do as well; `https:` only by default. */
  readonly allowHttp?: boolean | undefined;
  /** Gives up when aborted. */
  readonly signal?: AbortSignal | undefined;
}

export interface OutboundAnswer {
  readonly ok: true;
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** As it came: what is compressed stays so. Nothing is asked to be. */
  readonly body: Buffer;
  /** Where the answer came from, after redirects. */
  readonly url: string;
}

/** Why there is no answer. */
export type OutboundFailureKind =
  /** The URL or a header cannot be used: malformed, another scheme, with credentials in it. */
  | 'refused_url'
  /** The host is at an address to which this server must not talk. */
  | 'refused_address'
  | 'unresolved'
  /** Nobody answers there, or not with a certificate that is believed. */
  | 'unreachable'
  | 'timeout'
  | 'too_large'
  | 'too_many_redirects'
  /** The answer ended early, or is no HTTP. */
  | 'broken'
  /** Too many requests of ours wait already. */
  | 'busy'
  | 'aborted';

export interface OutboundFailure {
  readonly ok: false;
  readonly kind: OutboundFailureKind;
  /** For people. Names hosts, never paths, headers or bodies. */
  readonly reason: string;
}

export type OutboundResult = OutboundAnswer | OutboundFailure;

export interface OutboundHttpOptions {
  readonly guard: AddressGuard;
  readonly timers: Timers;
  readonly userAgent: string;
  /** Instead of the system's resolver. */
  readonly resolve?: Resolve | undefined;
  /** Certificate authorities in PEM, all of them; undefined for the system's. */
  readonly certificateAuthorities?: readonly string[] | undefined;
  /** Milliseconds to connect in, name and TLS included. Default 10 s. */
  readonly connectMs?: number | undefined;
  /** Requests at the same time to one origin; further ones wait. Default 8. */
  readonly perOrigin?: number | undefined;
  /** Requests at the same time; further ones wait. Default 256. */
  readonly concurrency?: number | undefined;
  /** Requests that wait at most; further ones fail with `busy`. Default 1024. */
  readonly waiting?: number | undefined;
}

const DEFAULT_TIMEOUTS: OutboundTimeouts = { headersMs: 20_000, bodyMs: 10_000, totalMs: 60_000 };
const DEFAULT_MAX_BODY_BYTES = 1_048_576;
const KEEP_ALIVE_MS = 10_000;
const failure = (kind: OutboundFailureKind, reason: string): OutboundFailure => ({ ok: false, kind, reason });

/**
 * Every request that this server makes of its own accord goes through here. It talks only to addresses that the guard allows, waits
 * only so long, reads only so much, and says in its result why there is no answer: it never throws.
 */
export class OutboundHttp {
  readonly #options: OutboundHttpOptions;
  readonly #agent: Agent;
  readonly #gate: Gate;
  readonly #closing = new AbortController();

  constructor(options: OutboundHttpOptions) {
    this.#options = options;
    this.#gate = new Gate(options.concurrency ?? 256);
    this.#agent = new Agent({
      connect: guardedConnector({
        guard: options.guard,
        resolve: options.resolve,
        timeoutMs: options.connectMs ?? 10_000,
        certificateAuthorities: options.certificateAuthorities,
      }),
      connections: options.perOrigin ?? 8,
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
    });
  }

  async request(request: OutboundRequest): Promise<OutboundResult> {
    if (this.#gate.waiting >= (this.#options.waiting ?? 1024))
      return failure('busy', 'this server makes too many requests already');
    const timeouts = { ...DEFAULT_TIMEOUTS, ...request.timeouts };
    const deadline = new AbortController();
    const given = [this.#closing.signal, ...(request.signal === undefined ? [] : [request.signal])];
    const signal = AbortSignal.any([deadline.signal, ...given]);
    const timer = this.#options.timers.after(timeouts.totalMs, () => deadline.abort());
    const ended = (): OutboundFailure =>
      deadline.signal.aborted
        ? failure('timeout', `there was no answer within ${timeouts.totalMs} ms`)
        : failure('aborted', 'the request was given up');
    let stopListening = (): void => undefined;
    const end = new Promise<OutboundFailure>((resolve) => {
      const listener = (): void => resolve(ended());
      if (signal.aborted) listener();
      signal.addEventListener('abort', listener, { once: true });
      stopListening = () => signal.removeEventListener('abort', listener);
    });
    try {
      // Whoever waits for a turn is told that time is up while still waiting.
      return await Promise.race([
        this.#gate.run(() => (signal.aborted ? Promise.resolve(ended()) : this.#follow(request, timeouts, signal))),
        end,
      ]);
    } finally {
      timer.cancel();
      stopListening();
    }
  }

  /** Gives up what is under way, and closes all connections. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#agent.destroy();
  }

  async #follow(request: OutboundRequest, timeouts: OutboundTimeouts, signal: AbortSignal): Promise<OutboundResult> {
    const mostRedirects = request.maxRedirects ?? 0;
    let hop: Hop | undefined = firstHop(request.method, request.url, request.headers, request.body);
    for (let redirects = 0; ; redirects++) {
      const refusal = refusedUrl(hop?.url, request.allowHttp === true);
      if (hop === undefined || refusal !== undefined) return failure('refused_url', refusal ?? 'this is no URL');
      const answer: OutboundResult = await this.#once(hop, request, timeouts, signal);
      const location: string | undefined = answer.ok
        ? redirectOf(answer.status, answer.headers['location'])
        : undefined;
      if (!answer.ok || location === undefined || mostRedirects === 0) return answer;
      if (redirects >= mostRedirects)
        return failure('too_many_redirects', `${hop.url.host} leads on and on: ${mostRedirects} redirects at most`);
      hop = nextHop(hop, answer.status, location);
    }
  }

  async #once(
    hop: Hop,
    request: OutboundRequest,
    timeouts: OutboundTimeouts,
    signal: AbortSignal,
  ): Promise<OutboundResult> {
    const { url } = hop;
    const mostBytes = request.maxBodyBytes ?? DEFAULT_MAX_BODY_BYTES;
    try {
      const { statusCode, headers, body } = await this.#agent.request({
        origin: url.origin,
        path: url.pathname + url.search,
        method: hop.method,
        headers: { 'user-agent': this.#options.userAgent, 'accept-encoding': 'identity', ...hop.headers },
        body: hop.body ?? null,
        headersTimeout: timeouts.headersMs,
        bodyTimeout: timeouts.bodyMs,
        signal,
      });
      const bytes = await readUpTo(body, mostBytes);
      if (bytes === undefined) return failure('too_large', `${url.host} answered with more than ${mostBytes} bytes`);
      return { ok: true, status: statusCode, headers, body: bytes, url: url.href };
    } catch (error) {
      return failureOf(error, url.host, signal);
    }
  }
}

/** The whole body; undefined as soon as it is longer than `most` bytes. */
const readUpTo = async (body: Dispatcher.ResponseData['body'], most: number): Promise<Buffer | undefined> => {
  const chunks: Buffer[] = [];
  let size = 0;
  // Breaking off is our own doing.
  body.on('error', () => undefined);
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > most) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
};

const refusedUrl = (url: URL | undefined, allowHttp: boolean): string | undefined => {
  if (url === undefined) return 'this is no URL';
  if (url.protocol !== 'https:' && !(allowHttp && url.protocol === 'http:'))
    return `${url.protocol} is not spoken here, ${allowHttp ? 'http: and https: are' : 'only https: is'}`;
  return url.username === '' && url.password === '' ? undefined : 'URLs with user names or passwords are not used';
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
