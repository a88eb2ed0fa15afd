import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerOptions } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Logger } from '#src/kernel/logger.ts';
import type { Metrics } from '#src/kernel/metrics.ts';
import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { type ConnectionLimits, Connections } from './connections.ts';
import { areTooManyPieces } from '#src/kernel/limits/pieces.ts';
import { ClientAddress } from './middleware/client-address.ts';
import { stopParsing } from './middleware/stop-parsing.ts';

/** Bounds on connections. */
export interface ServerLimits extends ConnectionLimits {
  /** Bytes of all the headers of a request; filters in query strings make this larger than Node's own default. */
  readonly maxHeaderBytes: number;
  /** Milliseconds in which the headers must have arrived. */
  readonly headersTimeoutMs: number;
  /** Milliseconds in which the whole request must have arrived, uploads over slow lines included: those are also held to a minimum speed. */
  readonly requestTimeoutMs: number;
  /** Milliseconds for which an idle connection is kept; longer than the usual proxy keeps it, so that the proxy closes first. */
  readonly keepAliveMs: number;
}

export const DEFAULT_SERVER_LIMITS: ServerLimits = {
  maxHeaderBytes: 32 * 1024,
  headersTimeoutMs: 15_000,
  requestTimeoutMs: 3_600_000,
  keepAliveMs: 75_000,
  maxConnections: 10_000,
  maxConnectionsPerAddress: 5_000,
};

/** A certificate chain and its key, PEM. */
export interface TlsFiles {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
}

export interface ListenOptions {
  readonly bind: string;
  /** 0 takes a free port. */
  readonly port: number;
  readonly tls?: TlsFiles;
}

export interface BoundAddress {
  readonly address: string;
  readonly port: number;
  /** `http://127.0.0.1:8008`, without a slash at the end. */
  readonly url: string;
}

/** Takes over a connection that asks for an upgrade to WebSocket. `head` is what arrived behind the request. */
export type UpgradeHook = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

export interface HttpServerOptions {
  readonly logger: Logger;
  readonly timers: Timers;
  readonly metrics: Metrics;
  /** Takes a token of the limit `connection` for each new connection, by address. */
  readonly rateLimiter?: RateLimiter;
  /** Addresses or networks of reverse proxies: their connections are not limited by address. */
  readonly trustedProxies?: readonly string[];
  readonly limits?: Partial<ServerLimits>;
}

const pathOf = (request: IncomingMessage): string => (request.url ?? '').split('?', 1)[0] ?? '';

const STATUS_OF_CODE: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
};

/** Answers bytes that are not an HTTP request. The connection cannot be used afterwards. */
const refuse = (error: NodeJS.ErrnoException, socket: Duplex): void => {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const status = STATUS_OF_CODE[error.code ?? ''] ?? '400 Bad Request';
  const body = JSON.stringify({ errcode: 'M_UNKNOWN', error: `The request could not be read: ${status.slice(4)}.` });
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
};

/** The listeners of this process, plain and TLS: they serve the same application, and stop together. */
export class HttpServer {
  readonly #logger: Logger;
  readonly #timers: Timers;
  readonly #limits: ServerLimits;
  readonly #connections: Connections;
  readonly #drain = new AbortController();
  readonly #servers: (Server | TlsServer)[] = [];
  readonly #upgradeHooks = new Map<string, UpgradeHook>();
  readonly #upgraded = new Set<Duplex>();
  #handler: RequestListener | undefined;
  #drained: Promise<void> | undefined;

  constructor(options: HttpServerOptions) {
    this.#logger = options.logger;
    this.#timers = options.timers;
    this.#limits = { ...DEFAULT_SERVER_LIMITS, ...options.limits };
    this.#connections = new Connections(this.#limits, {
      metrics: options.metrics,
      addresses: new ClientAddress(options.trustedProxies ?? []),
      ...(options.rateLimiter === undefined ? {} : { rateLimiter: options.rateLimiter }),
    });
  }

  /** Aborted when `drain` is called: long-polls answer and WebSockets say goodbye then. */
  get drainSignal(): AbortSignal {
    return this.#drain.signal;
  }

  /** Sets the handler of requests: `mountEndpoints(...).callback()`. To be called before `listen`. */
  handle(handler: RequestListener): void {
    this.#handler = handler;
  }

  /** Hands WebSocket handshakes for `path` to `hook`. On other paths the request is answered like any other. */
  onUpgrade(path: string, hook: UpgradeHook): void {
    this.#upgradeHooks.set(path, hook);
  }

  /**
   * Opens a listener; may be called several times.
   *
   * @throws Error EADDRINUSE and the like; an invalid certificate; no handler yet, or draining
   */
  async listen(options: ListenOptions): Promise<BoundAddress> {
    const handler = this.#handler;
    if (handler === undefined) throw new Error('The HTTP server has nothing that answers requests yet.');
    if (this.#drain.signal.aborted) throw new Error('The HTTP server is draining and opens no more listeners.');
    const server = this.#create(options.tls, handler);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: options.bind, port: options.port }, () => {
        server.off('error', reject);
        resolve();
      });
    });
    server.on('error', (err) => this.#logger.error('a listening socket failed', { err }));
    this.#servers.push(server);
    const { address, family, port } = server.address() as AddressInfo;
    const scheme = options.tls === undefined ? 'http' : 'https';
    return { address, port, url: `${scheme}://${family === 'IPv6' ? `[${address}]` : address}:${port}` };
  }

  /**
   * Uses another certificate for new connections; those that are open keep theirs.
   *
   * @throws Error when the certificate and key are not valid: the old ones stay in use then
   */
  reloadTls(tls: TlsFiles): void {
    for (const server of this.#servers)
      if ('setSecureContext' in server) server.setSecureContext({ cert: tls.cert, key: tls.key });
  }

  /**
   * Stops: accepts no more connections, tells running requests through their signals, waits for them and then closes what is left.
   *
   * @param graceMs milliseconds to wait for running requests and for WebSockets
   */
  drain(graceMs: number): Promise<void> {
    return (this.#drained ??= this.#close(graceMs));
  }

  async #close(graceMs: number): Promise<void> {
    const closed = this.#servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    this.#drain.abort();
    for (const server of this.#servers) {
      // A connection whose answer is just leaving becomes idle a moment later: it is closed then.
      server.keepAliveTimeout = 1;
      server.closeIdleConnections();
    }
    // Clients open connections ahead. Node takes one for busy until its first request, or the timeout of that.
    this.#connections.closeUnused();
    const deadline = this.#timers.after(graceMs, () => {
      if (this.#upgraded.size > 0)
        this.#logger.warn('WebSockets are closed at the end of the drain', { count: this.#upgraded.size });
      for (const socket of this.#upgraded) socket.destroy();
      for (const server of this.#servers) server.closeAllConnections();
    });
    await Promise.all(closed);
    deadline.cancel();
  }

  #create(tls: TlsFiles | undefined, handler: RequestListener): Server | TlsServer {
    const options: ServerOptions = {
      maxHeaderSize: this.#limits.maxHeaderBytes,
      headersTimeout: this.#limits.headersTimeoutMs,
      requestTimeout: this.#limits.requestTimeoutMs,
      keepAliveTimeout: this.#limits.keepAliveMs,
      // How often the two timeouts above are checked: with Node's 30 s a slow client would be served far beyond them.
      connectionsCheckingInterval: Math.min(5_000, this.#limits.headersTimeoutMs),
      noDelay: true,
      // Only WebSockets: a client that offers h2c is answered in HTTP/1.1.
      shouldUpgradeCallback: (request) =>
        request.headers.upgrade?.toLowerCase() === 'websocket' && this.#upgradeHooks.has(pathOf(request)),
    };
    const listener = this.#guarded(handler);
    const server =
      tls === undefined
        ? createServer(options, listener)
        : createTlsServer({ ...options, cert: tls.cert, key: tls.key }, listener);
    this.#guard(server);
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) =>
      this.#upgrade(request, socket, head),
    );
    server.on('clientError', refuse);
    return server;
  }

  /** Refused connections are closed before anything is set up for them. */
  #guard(server: Server | TlsServer): void {
    const listeners = server.listeners('connection') as ((socket: Socket) => void)[];
    server.removeAllListeners('connection');
    server.on('connection', (socket: Socket) => {
      if (!this.#connections.admit(socket)) {
        socket.resetAndDestroy();
        return;
      }
      for (const listener of listeners) listener.call(server, socket);
    });
  }

  #guarded(handler: RequestListener): RequestListener {
    return (request, response) => {
      const { socket } = request;
      // A request that was read together with the one for which the connection was closed.
      if (socket.destroyed) return;
      if (request.headers['transfer-encoding'] !== undefined) this.#countPieces(request);
      // Only the first response in line is given the socket.
      if (response.socket !== null) handler(request, response);
      // Answers leave in order anyway: pipelining must not run more requests at once.
      else if (this.#connections.mayPipeline(socket, (listener) => response.once('close', listener)))
        response.once('socket', () => handler(request, response));
      else {
        stopParsing(socket);
        socket.destroy();
      }
    };
  }

  /**
   * Closes the connection of a body that comes in more pieces than any client needs. They are counted by the parser, since thousands of
   * them are read at once, before the reader of the body hears of the first.
   */
  #countPieces(request: IncomingMessage): void {
    const push = request.push.bind(request);
    // What comes after the answer is counted as well. By itself Node continues to parse it, and pushes nothing any more.
    (request as IncomingMessage & { _dump?: () => void })._dump = () => void request.resume();
    let pieces = 0;
    let bytes = 0;
    request.push = (chunk: Buffer | null): boolean => {
      pieces += 1;
      bytes += chunk?.length ?? 0;
      if (!areTooManyPieces(pieces, bytes)) return push(chunk);
      const { socket } = request;
      request.push = () => false;
      this.#connections.abused(socket, 'pieces');
      stopParsing(socket);
      socket.destroy();
      return false;
    };
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const hook = this.#upgradeHooks.get(pathOf(request));
    if (hook === undefined || this.#drain.signal.aborted) {
      socket.destroy();
      return;
    }
    this.#upgraded.add(socket);
    socket.once('close', () => this.#upgraded.delete(socket));
    // A reset between handshake and hook would bring the process down.
    socket.on('error', () => socket.destroy());
    try {
      hook(request, socket, head);
    } catch (err) {
      this.#logger.error('a WebSocket handshake failed unexpectedly', { err });
      socket.destroy();
    }
  }
}
