import { Lazy } from '#src/kernel/caches/lazy.ts';
import { Gate } from '#src/kernel/limits/gate.ts';
import type { Timers } from '#src/kernel/timers.ts';
import type { AddressGuard } from './address-guard.ts';
import { firstHop, type Hop, nextHop, redirectOf } from './hops.ts';
import { BoundedBody } from './bounded-body.ts';
import type { GuardedAgent, OpenedAnswer } from './guarded-agent.ts';
import type { Resolve } from './name-resolver.ts';
import { failure, type OutboundFailure, type OutboundResult, type OutboundStream } from './outbound-result.ts';

/** Milliseconds. */
export interface OutboundTimeouts {
  /** Until the header of the response is there, from when the connection stands. */
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
  /** Bytes of the response's body at most, or how many by its type (`Content-Type`); 1 MiB by default. */
  readonly maxBodyBytes?: number | ((contentType: string) => number) | undefined;
  readonly timeouts?: Partial<OutboundTimeouts> | undefined;
  /** Redirects to follow, each of them guarded like the first request. None by default: a redirect is the response then. */
  readonly maxRedirects?: number | undefined;
  /** How to treat a longer body: it is a failure by default; with `cut`, its first `maxBodyBytes` are the response. */
  readonly overlong?: 'refuse' | 'cut' | undefined;
  /** Whether a redirect may lead to this URL. Everywhere the guard allows, when left out. */
  readonly mayFollow?: ((url: URL) => boolean | Promise<boolean>) | undefined;
  /** Whether `http:` is allowed as well; `https:` only by default. */
  readonly allowHttp?: boolean | undefined;
  /** Gives up when aborted. */
  readonly signal?: AbortSignal | undefined;
}

export interface OutboundHttpOptions {
  readonly guard: AddressGuard;
  readonly timers: Timers;
  readonly userAgent: string;
  readonly resolve: Resolve;
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

/**
 * HTTP requests of this server, except those of federation, go through here. It connects only to addresses that the guard allows, waits
 * and reads within limits, and returns why there is no response: it never throws.
 */
export class OutboundHttp {
  readonly #options: OutboundHttpOptions;
  readonly #agent = new Lazy(() => this.#openAgent());
  readonly #gate: Gate;
  readonly #closing = new AbortController();
  /** Clients that share the gate, and are closed with this one. */
  readonly #siblings: OutboundHttp[] = [];

  constructor(options: OutboundHttpOptions, gate = new Gate(options.concurrency ?? 256)) {
    this.#options = options;
    this.#gate = gate;
  }

  /** The same with another guard: connections of its own, and a share of the same number of requests. It is closed with this one. */
  guardedBy(guard: AddressGuard): OutboundHttp {
    const sibling = new OutboundHttp({ ...this.#options, guard }, this.#gate);
    this.#siblings.push(sibling);
    return sibling;
  }

  request(request: OutboundRequest): Promise<OutboundResult> {
    return this.#admitted(request, (timeouts, signal) =>
      this.#follow(request, (hop) => this.#once(hop, request, timeouts, signal)),
    );
  }

  /** Makes a request whose answer is streamed, and holds its place until that is done. `overlong` has no effect here. */
  async stream(request: OutboundRequest): Promise<OutboundStream | OutboundFailure> {
    const opened = Promise.withResolvers<OutboundStream | OutboundFailure>();
    const whole = this.#admitted<OutboundFailure | undefined>(request, async (timeouts, signal) => {
      const response = await this.#follow(request, (hop) => this.#open(hop, timeouts, signal));
      if (!response.ok) return response;
      const { status, headers } = response;
      const body = new BoundedBody(response.body, maxBytesOf(request)(String(headers['content-type'] ?? '')));
      opened.resolve({ ok: true, status, headers, body });
      await body.ended;
      return undefined;
    });
    void whole.then((failed) => opened.resolve(failed ?? failure('aborted', 'the request was given up')));
    return opened.promise;
  }

  /** Runs a request when it has its turn, within its time. */
  async #admitted<T>(
    request: OutboundRequest,
    work: (timeouts: OutboundTimeouts, signal: AbortSignal) => Promise<T | OutboundFailure>,
  ): Promise<T | OutboundFailure> {
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
      // A request fails at its deadline even while it waits for its turn.
      return await Promise.race([
        this.#gate.run(() => (signal.aborted ? Promise.resolve(ended()) : work(timeouts, signal))),
        end,
      ]);
    } finally {
      timer.cancel();
      stopListening();
    }
  }

  /** Aborts what is under way, and closes all connections. */
  async close(): Promise<void> {
    this.#closing.abort();
    await (await this.#agent.made)?.destroy();
    await Promise.all(this.#siblings.map((sibling) => sibling.close()));
  }

  async #follow<A extends OutboundResult | OpenedAnswer>(
    request: OutboundRequest,
    ask: (hop: Hop) => Promise<A | OutboundFailure>,
  ): Promise<A | OutboundFailure> {
    const maxRedirects = request.maxRedirects ?? 0;
    let hop: Hop | undefined = firstHop(request.method, request.url, request.headers, request.body);
    for (let redirects = 0; ; redirects++) {
      const refusal = refusedUrl(hop?.url, request.allowHttp === true);
      if (hop === undefined || refusal !== undefined) return failure('refused_url', refusal ?? 'this is no URL');
      const response = await ask(hop);
      const location: string | undefined = response.ok
        ? redirectOf(response.status, response.headers['location'])
        : undefined;
      if (!response.ok || location === undefined || maxRedirects === 0) return response;
      if ('destroy' in response.body) response.body.on('error', () => undefined).destroy();
      if (redirects >= maxRedirects)
        return failure('too_many_redirects', `${hop.url.host} leads on and on: ${maxRedirects} redirects at most`);
      hop = nextHop(hop, response.status, location);
      if (hop !== undefined && (await request.mayFollow?.(hop.url)) === false)
        return failure('refused_redirect', `a redirect leads to ${hop.url.host}, which is not asked`);
    }
  }

  async #once(
    hop: Hop,
    request: OutboundRequest,
    timeouts: OutboundTimeouts,
    signal: AbortSignal,
  ): Promise<OutboundResult> {
    const { bodyMs, headersMs } = timeouts;
    const limits = { maxBodyBytes: maxBytesOf(request), headersMs, bodyMs, cuts: request.overlong === 'cut' };
    return (await this.#agent.get()).request(hop, limits, signal);
  }

  async #open(hop: Hop, timeouts: OutboundTimeouts, signal: AbortSignal): Promise<OpenedAnswer | OutboundFailure> {
    return (await this.#agent.get()).open(hop, timeouts, signal);
  }

  async #openAgent(): Promise<GuardedAgent> {
    const { certificateAuthorities, connectMs, guard, perOrigin, resolve, userAgent } = this.#options;
    const { GuardedAgent: Agent } = await import('./guarded-agent.ts');
    return new Agent({
      guard,
      resolve,
      certificateAuthorities,
      timeoutMs: connectMs ?? 10_000,
      connections: perOrigin ?? 8,
      userAgent,
    });
  }
}

const maxBytesOf = ({ maxBodyBytes = DEFAULT_MAX_BODY_BYTES }: OutboundRequest): ((contentType: string) => number) =>
  typeof maxBodyBytes === 'number' ? () => maxBodyBytes : maxBodyBytes;

const refusedUrl = (url: URL | undefined, allowHttp: boolean): string | undefined => {
  if (url === undefined) return 'this is no URL';
  if (url.protocol !== 'https:' && !(allowHttp && url.protocol === 'http:'))
    return `${url.protocol} is not spoken here, ${allowHttp ? 'http: and https: are' : 'only https: is'}`;
  return url.username === '' && url.password === '' ? undefined : 'URLs with user names or passwords are not used';
};
