import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type RawData, WebSocket, WebSocketServer } from 'ws';
import { BytesInFlight, DEFAULT_BYTES_IN_FLIGHT } from '#src/kernel/limits/bytes-in-flight.ts';
import { networkOf } from '#src/kernel/network.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { Admission } from '#src/services/accounts/admission/admission.ts';
import { admit } from './admission.ts';
import { Connection, type ConnectionHub } from './connection.ts';
import { DEFAULT_WEBSOCKET_LIMITS, type WebSocketDependencies, type WebSocketLimits } from './dependencies.ts';
import { matrixErrorOf } from './failures.ts';
import { bearerToken } from '#src/services/accounts/sessions/bearer-token.ts';
import { refuseHandshake } from './handshake.ts';
import { HeartbeatWheel } from './heartbeat.ts';
import { METHODS } from './methods.ts';
import { SharedFrames } from './shared-frames.ts';
import type { Peer } from './socket-client.ts';
import { SocketMetrics } from './socket-metrics.ts';
import { assertedInQuery, type StreamParams, streamParamsOf } from './stream-params.ts';

/** The path of the API, for `HttpServer.onUpgrade`. */
export const WEBSOCKET_PATH = '/_matrix/client/unstable/org.tsudoi.websocket/stream';
/** The one subprotocol. */
export const SUBPROTOCOL = 'm.json';

/** Milliseconds that a peer gets to answer our close frame. */
const CLOSE_TIMEOUT_MS = 2_000;
/** Fragments of a message, and pieces of a frame: one of each costs as much as a small message. */
export const MAX_FRAGMENTS = 128;
export const MAX_BUFFERED_CHUNKS = 1_024;
/** Sockets that are closed in one turn of the event loop when the server drains. */
const DRAIN_SLICE = 200;

/** A socket with a reference to its connection, so that all sockets share their listeners. */
class StreamSocket extends WebSocket {
  connection: Connection | undefined;
}

function onMessage(this: WebSocket, data: RawData, isBinary: boolean): void {
  (this as StreamSocket).connection?.receive(data as Buffer, isBinary);
}
function onControl(this: WebSocket): void {
  (this as StreamSocket).connection?.controlled();
}
/** `ws` has closed the socket by then, with the code that says why. */
function onError(): void {}

const refusesSubprotocol = (offered: string | undefined): boolean =>
  offered !== undefined && !offered.split(',').some((name) => name.trim() === SUBPROTOCOL);

const queryOf = (url: string | undefined): string => {
  const mark = url?.indexOf('?') ?? -1;
  return url === undefined || mark === -1 ? '' : url.slice(mark + 1);
};

/**
 * The WebSocket API: what /sync tells, pushed as it happens, and requests over the same socket. docs/websocket.md describes it.
 * To be mounted with `http.onUpgrade(WEBSOCKET_PATH, api.upgrade)`.
 */
export class WebSocketApi implements ConnectionHub {
  readonly deps: WebSocketDependencies;
  readonly limits: WebSocketLimits;
  readonly methods = METHODS;
  readonly frames = new SharedFrames();
  readonly admission: Admission;
  readonly bytesInFlight: BytesInFlight;
  readonly metrics: SocketMetrics;
  readonly #server: WebSocketServer;
  readonly #wheel: HeartbeatWheel<Connection>;
  readonly #open = new Set<Connection>();
  readonly #byUser = new Map<string, Set<Connection>>();
  /** Connections that have not authenticated, oldest first, and until when they have to. */
  readonly #strangers = new Map<Connection, number>();
  readonly #stopListening: readonly (() => void)[];

  constructor(deps: WebSocketDependencies) {
    this.deps = deps;
    this.limits = { ...DEFAULT_WEBSOCKET_LIMITS, ...deps.limits };
    this.admission = new Admission(deps.rateLimiter, deps.services.sessions, deps.turns);
    this.bytesInFlight = deps.bytesInFlight ?? new BytesInFlight(DEFAULT_BYTES_IN_FLIGHT, deps.metrics);
    this.metrics = new SocketMetrics(
      deps.metrics,
      () => this.#open.size,
      () => this.#queuedBytes(),
    );
    const options = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: this.limits.maxFrameBytes,
      maxFragments: MAX_FRAGMENTS,
      maxBufferedChunks: MAX_BUFFERED_CHUNKS,
      // Of the hundreds of frames that are read at once, one in each turn of the event loop.
      allowSynchronousEvents: false,
      WebSocket: StreamSocket,
      handleProtocols: (offered: Set<string>) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : (false as const)),
      closeTimeout: CLOSE_TIMEOUT_MS,
    };
    this.#server = new WebSocketServer(options);
    this.#wheel = new HeartbeatWheel(deps.timers, this.limits.heartbeatMs, () => this.#sendStrangersAway());
    const { accountStream } = deps.services;
    this.#stopListening = [
      accountStream.on('session_ended', ({ userId, deviceId }) => {
        for (const connection of this.#ofUser(userId)) {
          if (connection.requester?.deviceId === deviceId) connection.close('tokenRevoked');
        }
      }),
      accountStream.on('admin_login_ended', ({ userId, sessionId }) => {
        for (const connection of this.#ofUser(userId))
          if (connection.requester?.adminLogin?.id === sessionId) connection.close('tokenRevoked');
      }),
      accountStream.on('changed', ({ userId, changes: { locked, suspended } }) => {
        for (const connection of this.#ofUser(userId)) {
          if (locked === true) connection.close('accountLocked');
          if (suspended !== undefined) connection.suspended(suspended);
        }
      }),
    ];
    deps.drainSignal.addEventListener('abort', () => this.#drain(), { once: true });
  }

  /** Number of open sockets. */
  get size(): number {
    return this.#open.size;
  }

  /** Takes a handshake over. */
  readonly upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    if (refusesSubprotocol(request.headers['sec-websocket-protocol'])) {
      refuseHandshake(
        socket,
        new MatrixError('M_INVALID_PARAM', `This API speaks the subprotocol ${SUBPROTOCOL}, which was not offered.`),
      );
      return;
    }
    const token = bearerToken(request.headers.authorization);
    if (token === undefined) this.#accept(request, socket, head, undefined);
    // It accepts the socket or closes it.
    else void this.#acceptKnown(request, socket, head, token);
  };

  /** A client that brings a token along is told at once, and by HTTP, when it is no good. */
  async #acceptKnown(request: IncomingMessage, socket: Duplex, head: Buffer, token: string): Promise<void> {
    const { ip, query } = this.#peerOf(request);
    const desk = { admission: this.admission, services: this.deps.services };
    try {
      const begin = (): StreamParams => streamParamsOf(query);
      this.#accept(request, socket, head, await admit(desk, networkOf(ip), token, assertedInQuery(query), begin));
    } catch (error) {
      refuseHandshake(socket, matrixErrorOf(error, this.deps, { method: 'handshake' }));
    }
  }

  #accept(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    arrival: Awaited<ReturnType<typeof admit>> | undefined,
  ): void {
    const peer = this.#peerOf(request);
    this.#server.handleUpgrade(request, socket, head, (accepted) =>
      this.#add(accepted as StreamSocket, socket, peer, arrival),
    );
  }

  #peerOf({ socket, headers, url }: IncomingMessage): Peer {
    const forwarded = headers['x-forwarded-for'];
    const ip = this.deps.clientAddress?.(socket.remoteAddress, forwarded) ?? socket.remoteAddress ?? '';
    return { ip, userAgent: headers['user-agent'], query: queryOf(url) };
  }

  #add(
    socket: StreamSocket,
    transport: Duplex,
    peer: Peer,
    arrival: Awaited<ReturnType<typeof admit>> | undefined,
  ): void {
    const connection = new Connection(this, socket, transport, peer);
    socket.connection = connection;
    socket.on('message', onMessage).on('ping', onControl).on('pong', onControl).on('error', onError);
    // Before the frames in them are looked at.
    transport.prependListener('data', (chunk: Buffer) => connection.arrived(chunk.length));
    socket.once('close', () => this.#remove(connection));
    transport.on('drain', () => connection.flushed());
    this.#open.add(connection);
    this.#wheel.add(connection);
    if (this.deps.drainSignal.aborted) connection.drain();
    else if (arrival !== undefined) connection.begin(arrival);
    else this.#strangers.set(connection, this.deps.clock.monotonic() + this.limits.authTimeoutMs);
  }

  authenticated(connection: Connection): void {
    this.#strangers.delete(connection);
    const userId = connection.requester?.userId;
    if (userId === undefined) return;
    const others = this.#byUser.get(userId);
    if (others === undefined) this.#byUser.set(userId, new Set([connection]));
    else others.add(connection);
  }

  closing(connection: Connection): void {
    this.#strangers.delete(connection);
    this.#wheel.delete(connection);
    const userId = connection.requester?.userId;
    if (userId === undefined) return;
    const others = this.#byUser.get(userId);
    others?.delete(connection);
    if (others?.size === 0) this.#byUser.delete(userId);
  }

  #remove(connection: Connection): void {
    this.#open.delete(connection);
    this.closing(connection);
    connection.closed();
    connection.release();
  }

  #queuedBytes(): number {
    let bytes = 0;
    for (const connection of this.#open) bytes += connection.queuedBytes;
    return bytes;
  }

  #ofUser(userId: string): readonly Connection[] {
    return [...(this.#byUser.get(userId) ?? [])];
  }

  #sendStrangersAway(): void {
    const now = this.deps.clock.monotonic();
    for (const [connection, deadline] of this.#strangers) {
      if (deadline > now) return;
      connection.close('badAuth');
    }
  }

  #drain(): void {
    for (const stop of this.#stopListening) stop();
    this.#wheel.stop();
    const waiting = [...this.#open];
    const slice = (): void => {
      for (const connection of waiting.splice(0, DRAIN_SLICE)) connection.drain();
      if (waiting.length > 0) setImmediate(slice);
    };
    slice();
  }
}
