import type { LookupAddress } from 'node:dns';
import { connect as connectSocket, isIP, type LookupFunction, type Socket } from 'node:net';
import { connect as connectTls, createSecureContext, type SecureContext } from 'node:tls';
import { type buildConnector, errors } from 'undici';
import { atMost } from '#src/kernel/caches/at-most.ts';
import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import { systemTimers, type Timer } from '#src/kernel/timers.ts';
import type { AddressGuard } from './address-guard.ts';
import type { Resolve } from './name-resolver.ts';

/** The guard denies every address of the host. */
export class RefusedAddressError extends Error {
  constructor(hostname: string) {
    super(`${hostname} is at no address that this server may talk to`);
    this.name = 'RefusedAddressError';
  }
}

/** The host name has no address. */
export class UnresolvedHostError extends Error {
  constructor(hostname: string, cause?: unknown) {
    super(`the address of ${hostname} could not be found`, { cause });
    this.name = 'UnresolvedHostError';
  }
}

export interface GuardedConnectorOptions {
  readonly guard: AddressGuard;
  readonly resolve: Resolve;
  /** Until a connection stands: its name looked up, TLS included. */
  readonly timeoutMs: number;
  /** Certificate authorities in PEM, all of them; undefined for the system's. */
  readonly certificateAuthorities?: readonly string[] | undefined;
}

/** Where to connect to. */
export interface ConnectOptions {
  /** A name to be looked up, or an IP address without brackets. */
  readonly hostname: string;
  readonly port: number;
  /** The name that is sent as SNI, and for which the certificate must be valid; undefined or an IP address: it is for the IP address. */
  readonly tlsName: string | undefined;
  /** Until the connection was accepted, TLS not included; `timeoutMs` of this connector at most. */
  readonly acceptMs?: number | undefined;
}

/** For a host with several addresses, the next one is tried after so many milliseconds: Node's default is too short for distant servers. */
const NEXT_ADDRESS_MS = 1_000;
const KEEP_ALIVE_MS = 60_000;
/** TLS sessions that are resumed: the next connection to a server is a third of the work. Each is some 2 KiB. */
const MAX_SESSIONS = 1_000;
/** The certificate is not checked when a session is resumed: this bounds how long an expired one goes unnoticed. */
const SESSION_MS = 3_600_000;
const HTTP_1 = ['http/1.1'];

/**
 * Makes connections. The address is looked up, checked and used in one step: DNS rebinding, a name that resolves to another address the next time, gains
 * nothing. TLS begins when the connection is accepted: a host that does not answer costs a socket, and nothing else.
 */
export class GuardedConnector {
  readonly #options: GuardedConnectorOptions;
  readonly #lookup: LookupFunction;
  readonly #sessions = new CountedCache<string, Buffer>('tls_sessions', { ...atMost(MAX_SESSIONS), ttl: SESSION_MS });
  readonly #connecting = new Set<Socket>();
  #secureContext: SecureContext | undefined;
  #isClosed = false;

  constructor(options: GuardedConnectorOptions) {
    this.#options = options;
    this.#lookup = (hostname, options, callback) => void this.#answer(hostname, options.all === true, callback);
  }

  /** For undici. */
  readonly forUndici: buildConnector.connector = (request, callback) => {
    const { hostname, port, protocol, servername } = request;
    const isTls = protocol === 'https:';
    const target = { hostname, port: Number(port) || (isTls ? 443 : 80), tlsName: servername || hostname };
    const socket = isTls ? this.connect(target) : this.#connectPlain(target);
    void handOver(socket, callback);
  };

  /** A connection with TLS, over which nothing has been sent. @throws Error of the guard, the resolver, the network, or for being late */
  connect(request: ConnectOptions): Promise<Socket> {
    return this.#within(request, async (keep) => {
      const plain = await this.#open(request, keep);
      const { hostname, port, tlsName } = request;
      // Sessions are kept for each certificate name.
      const key = `${hostname} ${port} ${tlsName ?? ''}`;
      const session = this.#sessions.get(key);
      const socket = connectTls({
        socket: plain,
        host: hostname,
        servername: tlsName === undefined || isIP(tlsName) !== 0 ? '' : tlsName.replace(/\.$/, ''),
        ALPNProtocols: HTTP_1,
        // Made once: to read a hundred authorities takes as long as many requests, and would be done for each connection.
        secureContext: (this.#secureContext ??= secureContextOf(this.#options.certificateAuthorities)),
        ...(session === undefined ? {} : { session }),
      });
      keep(socket);
      socket.on('session', (made) => this.#sessions.set(key, made));
      try {
        await occurred(socket, 'secureConnect');
      } catch (error) {
        this.#sessions.delete(key);
        throw error;
      }
      return socket;
    });
  }

  /** Aborts connections in progress. */
  close(): void {
    this.#isClosed = true;
    for (const socket of this.#connecting) socket.destroy(new errors.ClientDestroyedError());
  }

  #connectPlain(request: ConnectOptions): Promise<Socket> {
    return this.#within(request, (keep) => this.#open(request, keep));
  }

  async #open({ hostname, port }: ConnectOptions, keep: (socket: Socket) => void): Promise<Socket> {
    // An address needs no lookup.
    if (isIP(hostname) !== 0 && !this.#options.guard.allows(hostname)) throw new RefusedAddressError(hostname);
    const socket = connectSocket({
      host: hostname,
      port,
      lookup: this.#lookup,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: NEXT_ADDRESS_MS,
    });
    keep(socket);
    await occurred(socket, 'connect');
    return socket;
  }

  /** Makes a connection within a time limit, and destroys an unfinished one. */
  async #within(
    { acceptMs = Infinity, hostname, port }: ConnectOptions,
    work: (keep: (socket: Socket) => void) => Promise<Socket>,
  ): Promise<Socket> {
    if (this.#isClosed) throw new errors.ClientDestroyedError();
    const { timeoutMs } = this.#options;
    let kept: Socket | undefined;
    let isOver = false;
    /** Where this process itself was held up, events that arrived meanwhile are handled first: the other side is not late then. */
    const endAfter = (ms: number, isLate: () => boolean): Timer =>
      systemTimers.after(ms, () =>
        setImmediate(() => {
          if (!isOver && isLate())
            kept?.destroy(new errors.ConnectTimeoutError(`no connection to ${hostname}:${port} within ${ms} ms`));
        }),
      );
    const timers = [endAfter(timeoutMs, () => true)];
    if (acceptMs < timeoutMs) timers.push(endAfter(acceptMs, () => kept?.connecting === true));
    try {
      return await work((socket) => {
        // The TLS socket owns the plain one, and destroys it with itself.
        if (kept !== undefined) this.#connecting.delete(kept);
        this.#connecting.add((kept = socket));
        // Errors after the first one are ignored.
        socket.on('error', () => undefined);
      });
    } catch (error) {
      kept?.destroy();
      throw error;
    } finally {
      isOver = true;
      for (const timer of timers) timer.cancel();
      if (kept !== undefined) this.#connecting.delete(kept);
    }
  }

  async #answer(hostname: string, all: boolean, callback: Parameters<LookupFunction>[2]): Promise<void> {
    try {
      const addresses = await this.#addressesOf(hostname);
      const [first] = addresses;
      if (all) callback(null, addresses);
      else if (first !== undefined) callback(null, first.address, first.family);
    } catch (error) {
      callback(error as Error, []);
    }
  }

  async #addressesOf(hostname: string): Promise<LookupAddress[]> {
    const { guard, resolve } = this.#options;
    let found: readonly LookupAddress[];
    try {
      found = await resolve(hostname);
    } catch (error) {
      throw new UnresolvedHostError(hostname, error);
    }
    if (found.length === 0) throw new UnresolvedHostError(hostname);
    const allowed = found.filter(({ address }) => guard.allows(address));
    if (allowed.length === 0) throw new RefusedAddressError(hostname);
    return allowed;
  }
}

/** Gives undici a connection, or the error. */
export const handOver = async (connecting: Promise<Socket>, callback: buildConnector.Callback): Promise<void> => {
  let open: Socket;
  try {
    open = await connecting;
  } catch (error) {
    callback(error as Error, null);
    return;
  }
  callback(null, open);
};

const secureContextOf = (authorities: readonly string[] | undefined): SecureContext =>
  createSecureContext(authorities === undefined ? {} : { ca: [...authorities] });

/** Waits for an event of a socket; rejects when it fails or closes before. */
const occurred = (socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> =>
  new Promise((resolve, reject) => {
    const settle = (error?: Error): void => {
      socket.off(event, happened).off('error', settle).off('close', closed);
      if (error === undefined) resolve();
      else reject(error);
    };
    const happened = (): void => settle();
    const closed = (): void => settle(new errors.SocketError('it was closed before it was open'));
    socket.once(event, happened).once('error', settle).once('close', closed);
  });
