import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import { ClientGone } from '#src/kernel/event-loop/client-gone.ts';

/** The part of a request that is not declared by a schema. */
export interface RequestInfo {
  readonly requestId: string;
  /** The client's address: behind a trusted proxy, what X-Forwarded-For says. */
  readonly ip: string;
  readonly userAgent: string | undefined;
  /** The Accept-Language of a browser. */
  readonly acceptLanguage: string | undefined;
  /** It came through a proxy that is not trusted: `ip` is the proxy's, and says nothing about the client. */
  readonly isForwarded: boolean;
  /** The path as it was requested, which may be an alias. */
  readonly path: string;
  /** Content-Type of the body, for endpoints that take any. */
  readonly contentType: string | undefined;
  /** Which part of the answer is wanted, and what the client has already: `Range`, `If-Range`, `If-None-Match`. */
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
  readonly ifNoneMatch: string | undefined;
  /** Only the head of the answer is wanted. */
  readonly isHead: boolean;
  /** The access token of the request, for endpoints that need none. */
  readonly accessToken: string | undefined;
  /** Aborted when the client goes away, with ClientGone as its reason, or the server drains: long-polls answer then. */
  readonly signal: AbortSignal;
}

/** The reason of all signals of clients that went away: nobody needs to know where that was noticed. */
const GONE = new ClientGone();

/** The requests that wait on their signal, so that a drain reaches all of them through one listener. */
export class OpenRequests {
  readonly #controllers = new Set<AbortController>();
  readonly #drainSignal: AbortSignal;

  constructor(drainSignal: AbortSignal) {
    this.#drainSignal = drainSignal;
    drainSignal.addEventListener(
      'abort',
      () => {
        for (const controller of this.#controllers) controller.abort();
      },
      { once: true },
    );
  }

  /** A signal that aborts when the response is closed before it was finished, or when the server drains. */
  signalFor(response: ServerResponse): AbortSignal {
    const controller = new AbortController();
    if (this.#drainSignal.aborted || response.destroyed) {
      controller.abort(response.destroyed ? GONE : undefined);
      return controller.signal;
    }
    this.#controllers.add(controller);
    response.once('close', () => {
      this.#controllers.delete(controller);
      if (!response.writableFinished) controller.abort(GONE);
    });
    return controller.signal;
  }
}

/** Headers in which proxies name the client. */
const FORWARDED = ['x-forwarded-for', 'forwarded', 'x-real-ip', 'x-forwarded-host', 'via'];

/** RequestInfo whose signal is made only for the endpoints that look at it. */
export class LazyRequestInfo implements RequestInfo {
  readonly requestId: string;
  readonly ip: string;
  readonly userAgent: string | undefined;
  readonly acceptLanguage: string | undefined;
  readonly path: string;
  readonly contentType: string | undefined;
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
  readonly ifNoneMatch: string | undefined;
  readonly isHead: boolean;
  readonly #open: OpenRequests;
  readonly #response: ServerResponse;
  readonly #headers: IncomingHttpHeaders;
  readonly #isFromTrustedProxy: () => boolean;
  readonly #accessToken: () => string | undefined;
  #signal: AbortSignal | undefined;

  constructor(
    requestId: string,
    ip: string,
    headers: IncomingHttpHeaders,
    path: string,
    open: OpenRequests,
    response: ServerResponse,
    isFromTrustedProxy: () => boolean,
    accessToken: () => string | undefined,
  ) {
    this.requestId = requestId;
    this.#headers = headers;
    this.#isFromTrustedProxy = isFromTrustedProxy;
    this.#accessToken = accessToken;
    this.ip = ip;
    this.userAgent = headers['user-agent'];
    this.acceptLanguage = headers['accept-language'];
    this.contentType = headers['content-type'];
    this.range = headers.range;
    this.ifNoneMatch = headers['if-none-match'];
    const ifRange = headers['if-range'];
    this.ifRange = typeof ifRange === 'string' ? ifRange : undefined;
    this.isHead = response.req.method === 'HEAD';
    this.path = path;
    this.#open = open;
    this.#response = response;
  }

  get isForwarded(): boolean {
    return FORWARDED.some((name) => this.#headers[name] !== undefined) && !this.#isFromTrustedProxy();
  }

  get accessToken(): string | undefined {
    return this.#accessToken();
  }

  get signal(): AbortSignal {
    return (this.#signal ??= this.#open.signalFor(this.#response));
  }
}
