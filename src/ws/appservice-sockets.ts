import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type RawData, WebSocket, WebSocketServer } from 'ws';
import type { BytesHeld, BytesInFlight } from '#src/kernel/limits/bytes-in-flight.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Metrics } from '#src/kernel/metrics.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { measureJson } from '#src/protocol/json/json-measure.ts';
import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import type { Appservices } from '#src/services/accounts/appservices/appservices.ts';
import type { AppserviceSocket, OpenSockets } from '#src/services/appservices/sockets/open-sockets.ts';
import type { AppserviceTransaction, Sent } from '#src/services/appservices/transactions/transaction.ts';
import { bearerToken } from '#src/services/accounts/sessions/bearer-token.ts';
import { refuseHandshake } from './handshake.ts';

/** Where application services open a WebSocket for their transactions, for `HttpServer.onUpgrade`. */
export const APPSERVICE_SYNC_PATH = '/_matrix/client/unstable/fi.mau.as_sync';

/** Bytes of a frame of a service: it answers, and asks little. */
export const MAX_FRAME_BYTES = 1_048_576;
/** Frames of a service between two heartbeats, and their bytes. */
export const MAX_FRAMES = 1_000;
export const MAX_BYTES = 16 * 1_048_576;
/** Values in the JSON of a frame. */
export const MAX_JSON_VALUES = 10_000;
/** Fragments of a frame, and pieces of any that wait to be whole. */
const MAX_FRAGMENTS = 128;
const MAX_BUFFERED_CHUNKS = 1_024;
/** Bytes in either direction that are not counted: as many sockets as there may be do no harm by them. */
const UNCOUNTED_BYTES = 2 * 1024;
const CLOSE_TIMEOUT_MS = 2_000;
/** Services do what a transaction asks for before they answer. */
const ANSWER_MS = 90_000;
/** From this version of the protocol on, transactions are answered. */
const ANSWERING_VERSION = 3;

/** Why a socket is closed, as services know it. */
const CLOSINGS = {
  replaced: [4001, 'conn_replaced'],
  unanswered: [4002, 'transactions_not_acknowledged'],
  unregistered: [4003, 'unregistered'],
  ending: [1012, 'server_shutting_down'],
} as const;

export interface AppserviceSocketDependencies {
  readonly appservices: Pick<Appservices, 'byId' | 'byToken' | 'changed'>;
  readonly sockets: OpenSockets;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly bytesInFlight: BytesInFlight;
  /** The address of a client behind trusted proxies. */
  readonly clientAddress: (remoteAddress: string | undefined, forwardedFor: string | string[] | undefined) => string;
  /** Aborted when the server begins to drain. */
  readonly drainSignal: AbortSignal;
  /** Milliseconds between two pings; a peer that leaves one unanswered until the next is gone. */
  readonly heartbeatMs: number;
}

/**
 * WebSockets for transactions to application services that this server cannot connect to, such as bridges behind NAT: what
 * mautrix-wsproxy does for a server that can only push. Frames are JSON objects: `{"command": "transaction", "status": "ok", "id", "txn_id",
 * "events", ...}` to the service, `{"command": "response", "id", "data"}` back.
 */
export class AppserviceWebSockets {
  readonly #deps: AppserviceSocketDependencies;
  readonly #server: WebSocketServer;
  readonly #open = new Set<Connection>();
  readonly #heartbeat: Timer;

  constructor(deps: AppserviceSocketDependencies) {
    this.#deps = deps;
    const options = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: MAX_FRAME_BYTES,
      maxFragments: MAX_FRAGMENTS,
      maxBufferedChunks: MAX_BUFFERED_CHUNKS,
      // Of the hundreds of frames that are read at once, one in each turn of the event loop.
      allowSynchronousEvents: false,
      closeTimeout: CLOSE_TIMEOUT_MS,
    };
    this.#server = new WebSocketServer(options);
    deps.metrics.gaugeOf('tsudoi_appservice_sockets', 'WebSockets of application services', () => this.#open.size);
    this.#heartbeat = deps.timers.every(deps.heartbeatMs, () => {
      for (const connection of this.#open) connection.beat();
    });
    deps.appservices.changed.subscribe(() => {
      for (const connection of this.#open) {
        const { asTokenHash, id } = connection.service;
        if (deps.appservices.byId(id)?.asTokenHash !== asTokenHash) connection.close('unregistered');
      }
    });
    deps.drainSignal.addEventListener('abort', () => this.#drain(), { once: true });
  }

  /** Takes a handshake over. */
  readonly upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    const token = bearerToken(request.headers.authorization);
    const service = token === undefined ? undefined : this.#deps.appservices.byToken(token);
    if (service === undefined) {
      const error =
        token === undefined
          ? new MatrixError('M_MISSING_TOKEN', 'This needs the as_token of an application service, as a bearer token.')
          : new MatrixError('M_UNKNOWN_TOKEN', 'This token is of no application service.');
      refuseHandshake(socket, error);
      return;
    }
    const version = Number(request.headers['x-mautrix-websocket-version'] ?? 0);
    this.#server.handleUpgrade(request, socket, head, (accepted) => {
      const { bytesInFlight, clientAddress, clock, logger, sockets, timers } = this.#deps;
      const ip = clientAddress(request.socket.remoteAddress, request.headers['x-forwarded-for']);
      const connection = new Connection(accepted, {
        service,
        held: bytesInFlight.open(ip, socket),
        answers: version >= ANSWERING_VERSION,
        clock,
        timers,
        logger,
      });
      this.#open.add(connection);
      // Before the frames in them are looked at.
      socket.prependListener('data', (chunk: Buffer) => connection.arrived(chunk.length));
      socket.on('drain', () => connection.count());
      accepted.once('close', () => {
        this.#open.delete(connection);
        connection.closed();
        sockets.remove(service.id, connection);
        logger.info('an application service closed its WebSocket', { appservice: service.id });
      });
      if (this.#deps.drainSignal.aborted) {
        connection.close('ending');
        return;
      }
      logger.info('an application service opened a WebSocket', { appservice: service.id });
      connection.welcome();
      sockets.add(service.id, connection);
    });
  };

  #drain(): void {
    this.#heartbeat.cancel();
    for (const connection of this.#open) connection.close('ending');
  }
}

interface ConnectionParts {
  readonly service: ApplicationService;
  /** What it holds of the memory for bytes in flight. */
  readonly held: BytesHeld;
  /** Whether it answers transactions. */
  readonly answers: boolean;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
}

/** One WebSocket of an application service. */
class Connection implements AppserviceSocket {
  readonly #socket: WebSocket;
  readonly #parts: ConnectionParts;
  /** The transaction that waits for its answer, by the number of its frame. */
  readonly #waiting = new Map<number, (sent: Sent) => void>();
  #count = 0;
  #frames = 0;
  /** Bytes that came since the last heartbeat, and since the last whole frame. */
  #bytes = 0;
  #arriving = 0;
  #isAlive = true;
  #isClosed = false;

  constructor(socket: WebSocket, parts: ConnectionParts) {
    this.#socket = socket;
    this.#parts = parts;
    socket.on('message', (data, isBinary) => this.#receive(data, isBinary));
    socket.on('pong', () => {
      this.#isAlive = true;
    });
    // `ws` has closed the socket by then, with the code that says why.
    socket.on('error', () => undefined);
  }

  get service(): ApplicationService {
    return this.#parts.service;
  }

  welcome(): void {
    this.#send(JSON.stringify({ command: 'connect', status: 'connected', data: {} }));
  }

  /** Bytes came, which are looked at next. A service that sends more than it can have to say is not heard any longer. */
  arrived(bytes: number): void {
    this.#bytes += bytes;
    this.#arriving += bytes;
    if (this.#bytes > MAX_BYTES) this.#socket.terminate();
    else if (this.#arriving > UNCOUNTED_BYTES) this.count();
  }

  /** Counts what is in memory on its way in or out. Where there is no room for it, the socket goes. */
  count(): void {
    if (this.#isClosed) return;
    const { bufferedAmount } = this.#socket;
    const arriving = this.#arriving > UNCOUNTED_BYTES ? this.#arriving : 0;
    const leaving = bufferedAmount > UNCOUNTED_BYTES ? bufferedAmount : 0;
    if (!this.#parts.held.hold('frame', arriving + leaving)) this.#socket.terminate();
  }

  beat(): void {
    this.#frames = 0;
    this.#bytes = 0;
    this.count();
    if (!this.#isAlive) {
      this.#socket.terminate();
      return;
    }
    this.#isAlive = false;
    this.#socket.ping();
  }

  deliver({ body, id }: AppserviceTransaction, signal: AbortSignal): Promise<Sent> {
    const { answers, timers } = this.#parts;
    this.#count += 1;
    const number = this.#count;
    const frame = `{"command":"transaction","status":"ok","id":${number},"txn_id":${JSON.stringify(id)},${body.slice(1)}`;
    return new Promise((resolve) => {
      const end = (sent: Sent): void => {
        if (!this.#waiting.delete(number)) return;
        timer.cancel();
        signal.removeEventListener('abort', abort);
        resolve(sent);
      };
      const abort = (): void => end({ kind: 'failed', reason: 'the server ends' });
      const timer = timers.after(ANSWER_MS, () => {
        end({ kind: 'failed', reason: `there was no answer over the WebSocket within ${ANSWER_MS} ms` });
        this.close('unanswered');
      });
      this.#waiting.set(number, end);
      signal.addEventListener('abort', abort, { once: true });
      if (this.#socket.readyState !== WebSocket.OPEN) end(CLOSED);
      else {
        this.#socket.send(frame, (error) => {
          if (error !== undefined && error !== null) end(CLOSED);
          else if (!answers) end({ kind: 'arrived' });
        });
        this.count();
      }
    });
  }

  replace(): void {
    this.close('replaced');
  }

  close(why: keyof typeof CLOSINGS): void {
    const [code, status] = CLOSINGS[why];
    this.#socket.close(code, JSON.stringify({ command: 'disconnect', status }));
  }

  /** It is closed: what was not answered did not arrive. */
  closed(): void {
    this.#isClosed = true;
    this.#parts.held.release();
    for (const end of this.#waiting.values()) end(CLOSED);
  }

  #receive(data: RawData, isBinary: boolean): void {
    this.#isAlive = true;
    this.#frames += 1;
    this.#arriving = 0;
    if (this.#parts.held.bytes > 0) this.count();
    if (this.#frames > MAX_FRAMES) {
      this.#socket.close(1008);
      return;
    }
    const frame = isBinary ? undefined : parsed(data);
    if (frame === undefined) {
      this.#socket.close(1007);
      return;
    }
    const { command, id } = frame;
    const number = typeof id === 'number' ? id : 0;
    if (command === 'response') this.#waiting.get(number)?.({ kind: 'arrived' });
    else if (command === 'error') {
      this.#parts.logger.debug('an application service answers with an error', { appservice: this.service.id });
      this.#waiting.get(number)?.({ kind: 'failed', reason: 'the application service answered with an error' });
    } else this.#answer(command, number);
  }

  /** Answers what a service asks over its socket: whether it is still heard. */
  #answer(command: unknown, id: number): void {
    // A command without a number needs no answer.
    if (id === 0) return;
    if (command === 'ping')
      this.#send(
        JSON.stringify({ command: 'response', status: 'ok', id, data: { timestamp: this.#parts.clock.now() } }),
      );
    else {
      const error = { code: 'M_UNRECOGNIZED', message: 'This server knows no such command.' };
      this.#send(JSON.stringify({ command: 'error', status: 'error', id, data: error }));
    }
  }

  #send(text: string): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#socket.send(text);
    if (this.#socket.bufferedAmount > UNCOUNTED_BYTES) this.count();
  }
}

const CLOSED: Sent = { kind: 'failed', reason: 'the WebSocket was closed' };

const parsed = (data: RawData): { readonly command?: unknown; readonly id?: unknown } | undefined => {
  const bytes = data as Buffer;
  if (measureJson(bytes, MAX_JSON_VALUES).values > MAX_JSON_VALUES) return undefined;
  try {
    const value: unknown = JSON.parse(bytes.toString());
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
};
