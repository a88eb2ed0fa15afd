import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { type BytesInFlight, bytesOfJson } from '#src/kernel/limits/bytes-in-flight.ts';
import { networkOf } from '#src/kernel/network.ts';
import { currentWork, type Work } from '#src/kernel/event-loop/work.ts';
import type { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { measureJson } from '#src/protocol/json/json-measure.ts';
import { type Admission, endsConnection } from '#src/services/accounts/admission/admission.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import { type AdmissionDesk, admit, admitAgain, type Admitted } from './admission.ts';
import { CLOSE_REASONS, type CloseName } from './close-codes.ts';
import type { WebSocketDependencies, WebSocketLimits } from './dependencies.ts';
import { errorFrame, parseFrame, type RequestFrame, type RequestId, resultFrame } from './frames.ts';
import type { HasHeartbeat } from './heartbeat.ts';
import type { Method } from './method.ts';
import { closeNameOf, matrixErrorOf } from './failures.ts';
import { doRequest } from './request-work.ts';
import { runRequest } from './requests.ts';
import type { SharedFrames } from './shared-frames.ts';
import { SocketBytes } from './socket-bytes.ts';
import { type Peer, SocketClient } from './socket-client.ts';
import type { SocketMetrics } from './socket-metrics.ts';
import { assertedIn, type StreamParams, type StreamStart, streamParamsOf, validateAuth } from './stream-params.ts';
import { type StreamSink, SyncStream } from './sync-stream.ts';

/** What all connections share. */
export interface ConnectionHub {
  readonly admission: Admission;
  readonly bytesInFlight: BytesInFlight;
  readonly deps: WebSocketDependencies;
  readonly limits: WebSocketLimits;
  readonly methods: ReadonlyMap<string, Method>;
  readonly frames: SharedFrames;
  readonly metrics: SocketMetrics;
  authenticated(connection: Connection): void;
  /** The server closes it. */
  closing(connection: Connection): void;
}

/** Heartbeats that may stay unanswered. */
export const MAX_SILENCE = 2;
/** Shorter JSON is not worth measuring. */
const MEASURED_FROM = 16 * 1024;
/** What the operating system hands over at once. */
const CHUNK_BYTES = 64 * 1024;

/** One socket: its client, the requests that run, and the stream of news. */
export class Connection implements StreamSink, HasHeartbeat {
  readonly #hub: ConnectionHub;
  readonly #socket: WebSocket;
  readonly #transport: Duplex;
  readonly #peer: Peer;
  readonly #network: string;
  readonly #bytes: SocketBytes;
  /** Once it has authenticated. */
  #client: SocketClient | undefined;
  #stream: SyncStream | undefined;
  /** Frames that came before authentication had ended. */
  #early: EarlyFrame[] | undefined;
  /** Frames that wait for their turn to be looked at, while nothing more is read. */
  #reading: Buffer[] | undefined;
  #controlFrames = 0;
  #inFlight = 0;
  #refusals = 0;
  #silence = 0;
  #buffered = 0;
  #isClosing = false;
  #isDraining = false;
  #isPaused = false;

  /** @param transport what `socket` writes to */
  constructor(hub: ConnectionHub, socket: WebSocket, transport: Duplex, peer: Peer) {
    this.#hub = hub;
    this.#socket = socket;
    this.#transport = transport;
    this.#peer = peer;
    this.#network = networkOf(peer.ip);
    this.#bytes = new SocketBytes(hub.bytesInFlight.open(peer.ip, transport), socket, this);
  }

  get requester(): Requester | undefined {
    return this.#client?.requester;
  }

  /** Says that the user was suspended, or that this was lifted: for all requests from now on. */
  suspended(isSuspended: boolean): void {
    this.#client?.suspended(isSuspended);
  }

  /** Bytes that wait for the peer to read them. */
  get queuedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  /** Sets the authenticated client, and begins to push. */
  begin(admitted: Admitted & { readonly start: StreamStart }): void {
    const { deps } = this.#hub;
    const { requester, start } = admitted;
    const client = (this.#client = new SocketClient(deps, this.#peer, admitted));
    this.#bytes.countFor(requester.userId);
    this.#hub.authenticated(this);
    this.#stream = new SyncStream(deps.services, this, requester, start, deps.drainSignal);
    client.seen(this.#stream.presence);
    // What is begun for a socket ends with it.
    void this.#stream.open();
    // A session that ended since its token was looked at was not known to be ours: it is looked at once more.
    void this.#recheck(client);
  }

  /** Bytes came, which are looked at next. */
  arrived(bytes: number): void {
    if (!this.#bytes.arrived(bytes)) return;
    const { maxFrameBytes, maxStrangerFrameBytes } = this.#hub.limits;
    const longest = this.#isStranger ? maxStrangerFrameBytes : maxFrameBytes;
    // A client that was sent a close frame, or sends no whole frame in so many bytes, is not read any longer.
    const isTooMuch = this.#bytes.arriving > (this.#isClosing ? CHUNK_BYTES : longest + 2 * CHUNK_BYTES);
    if (isTooMuch) this.#drop('tooLarge');
    else this.#bytes.count();
  }

  /** Whether the client has not shown an access token yet. */
  get #isStranger(): boolean {
    return this.#client === undefined && this.#early === undefined;
  }

  /** A frame came. */
  receive(data: Buffer, isBinary: boolean): void {
    this.#silence = 0;
    if (this.#isClosing || this.#isDraining) return;
    this.#bytes.framed();
    this.#bytes.countAgain();
    this.#hub.metrics.received();
    if (isBinary) this.close('binary');
    else if (this.#isStranger && data.length > this.#hub.limits.maxStrangerFrameBytes) this.close('tooLarge');
    else if (this.#reading !== undefined) {
      this.#reading.push(data);
      this.#bytes.waits(data.length);
    } else if (data.length > MEASURED_FROM) this.#readInTurn(data);
    else this.#read(data);
  }

  /** Large frames take time before it is known what they want: they wait for their turn, and nothing more is read until then. */
  #readInTurn(data: Buffer): void {
    const key = this.requester?.userId ?? this.#network;
    const waiting = this.#hub.admission.turn(key);
    if (waiting === undefined) {
      this.#read(data);
      return;
    }
    this.#reading = [data];
    this.#socket.pause();
    this.#bytes.waits(data.length);
    const read = (): void => {
      const frames = this.#reading ?? [];
      this.#reading = undefined;
      this.#bytes.waited(frames.reduce((sum, { length }) => sum + length, 0));
      this.#bytes.count();
      for (const frame of frames) if (!this.#isClosing) this.#read(frame);
      this.#resume();
    };
    waiting.then(read, () => this.close('rateLimited'));
  }

  /** Reads on, unless there is something to wait for. */
  #resume(): void {
    if (!this.#isPaused && this.#reading === undefined) this.#socket.resume();
  }

  #read(data: Buffer): void {
    const { maxInFlight, maxJsonValues } = this.#hub.limits;
    const values = data.length > MEASURED_FROM ? measureJson(data, maxJsonValues).values : 0;
    const bytes = bytesOfJson(data.length, values);
    if (values > maxJsonValues) this.close('tooLarge');
    else if (this.#early === undefined) this.#frame(data.toString(), bytes);
    else if (this.#early.length < maxInFlight) {
      this.#early.push({ text: data.toString(), bytes });
      this.#bytes.waits(bytes);
    } else this.close('protocolError');
  }

  /** A ping or a pong came: the peer is there. */
  controlled(): void {
    this.#silence = 0;
    this.#controlFrames += 1;
    if (this.#controlFrames > this.#hub.limits.maxControlFrames) this.#drop('rateLimited');
  }

  /** What was written has left: the peer reads. */
  flushed(): void {
    this.#bytes.countAgain();
    if (this.#isPaused) {
      this.#isPaused = false;
      this.#resume();
    }
    this.#stream?.pump();
  }

  beat(): void {
    if (this.#isClosing) return;
    const { bufferedAmount } = this.#socket;
    // A slow client answers late: our ping stands behind what they have not read yet. But they do read.
    if (bufferedAmount < this.#buffered) this.#silence = 0;
    this.#buffered = bufferedAmount;
    if (this.#silence >= MAX_SILENCE) {
      this.#hub.metrics.dropped('dead');
      this.#socket.terminate();
      return;
    }
    this.#silence += 1;
    this.#refusals = 0;
    this.#controlFrames = 0;
    this.#bytes.count();
    this.#socket.ping();
    if (this.#client === undefined) return;
    this.#client.seen(this.#stream?.presence ?? 'online');
    // It closes the connection or does nothing.
    void this.#recheck(this.#client);
  }

  /** Lets running requests end, takes no more, and closes. */
  drain(): void {
    this.#isDraining = true;
    this.#stream?.close();
    if (this.#inFlight === 0) this.close('drain');
  }

  close(name: CloseName): void {
    if (this.#isClosing) return;
    const { code, reason } = CLOSE_REASONS[name];
    this.#hub.metrics.dropped(name);
    this.#hub.closing(this);
    this.closed();
    this.#bytes.framed();
    if (this.#reading !== undefined) {
      // What waited is not looked at any more, but for the peer's answer to the close.
      this.#reading = undefined;
      this.#socket.resume();
    }
    this.#socket.close(code, reason);
  }

  /** Drops the connection without a close frame: the peer does not read, or there is no memory for what it would have to read. */
  #drop(reason: CloseName | 'noRoom'): void {
    if (!this.#isClosing) this.#hub.metrics.dropped(reason);
    this.#hub.closing(this);
    this.closed();
    this.#socket.terminate();
  }

  /** Gives back what it held, when nothing of it is left. */
  release(): void {
    this.#bytes.release();
  }

  /** There is no memory for what it holds. */
  noRoom(): void {
    this.#drop('noRoom');
  }

  /** It is closed, by either side. */
  closed(): void {
    this.#isClosing = true;
    this.#early = undefined;
    this.#bytes.waitNoLonger();
    this.#stream?.close();
  }

  mayPush(): boolean {
    if (!this.#isOverfull()) return true;
    this.#hub.metrics.paused();
    return false;
  }

  push(body: string): void {
    const work = currentWork();
    const { requester } = this;
    if (work !== undefined && requester?.rateLimited === true) {
      work.bytesOut = body.length;
      this.#hub.admission.charge(requester.userId, work, true);
    }
    this.#hub.metrics.pushed();
    this.#send(body);
  }

  failed(error: unknown): void {
    this.#asMatrixError(error, 'push');
    this.close('internal');
  }

  /** @param bytes what it weighs as long as it is worked on */
  #frame(text: string, bytes: number): void {
    const frame = parseFrame(text);
    if (frame === undefined) this.close('protocolError');
    else if (frame.method === 'auth')
      void (this.#client === undefined ? this.#authenticate(frame) : this.#renew(frame, this.#client));
    else if (this.#client === undefined || frame.id === undefined) this.close('badAuth');
    // It answers whatever happens; a client that gets no answer repeats its request.
    else void this.#serve(frame, frame.id, this.#client.requester, bytes);
  }

  async #authenticate(frame: RequestFrame): Promise<void> {
    this.#early = [];
    try {
      const { params } = frame;
      validateAuth(params);
      const begin = (): StreamParams => ({ ...streamParamsOf(this.#peer.query), ...params });
      const asserted = assertedIn(params);
      const admitted = await admit(this.#desk, this.#network, params.token, asserted, begin);
      if (this.#isClosing) return;
      this.begin(admitted);
      this.#welcome(frame.id, admitted.requester);
    } catch (error) {
      if (this.#isClosing) return;
      const told = this.#asMatrixError(error, 'auth');
      this.#send(errorFrame(frame.id, told));
      this.close(closeNameOf(told));
      return;
    }
    const early = this.#early ?? [];
    this.#early = undefined;
    this.#bytes.waited(early.reduce((sum, { bytes }) => sum + bytes, 0));
    for (const { text, bytes } of early) if (!this.#isClosing) this.#frame(text, bytes);
  }

  /** The client continues with a fresh token of the same device. */
  async #renew(frame: RequestFrame, client: SocketClient): Promise<void> {
    try {
      client.renew(await admitAgain(this.#desk, this.#network, client.requester, frame.params));
      this.#welcome(frame.id, client.requester);
    } catch (error) {
      const told = this.#asMatrixError(error, 'auth');
      this.#send(errorFrame(frame.id, told));
      this.#refused(told);
    }
  }

  /** A client that keeps asking in vain is disconnected: an answer costs as much as the question. */
  #refused(error: MatrixError): void {
    this.#refusals += 1;
    if (endsConnection(error) || this.#refusals > this.#hub.limits.maxRefusals) this.close('rateLimited');
  }

  get #desk(): AdmissionDesk {
    return { admission: this.#hub.admission, services: this.#hub.deps.services };
  }

  #welcome(id: RequestId | undefined, { userId, deviceId }: Requester): void {
    if (id === undefined) return;
    const device = deviceId === undefined ? {} : { device_id: deviceId };
    this.#send(resultFrame(id, { user_id: userId, ...device, heartbeat_ms: this.#hub.limits.heartbeatMs }));
  }

  async #serve(frame: RequestFrame, id: RequestId, requester: Requester, bytes: number): Promise<void> {
    this.#bytes.runs(bytes);
    if (!this.#isClosing) {
      const { methods } = this.#hub;
      const method = typeof frame.method === 'string' ? methods.get(frame.method) : undefined;
      const asked = { requester, ip: this.#peer.ip, bytes: frame.text.length };
      this.#inFlight += 1;
      await doRequest(this.#hub, method, asked, (work) => this.#answer(frame, id, requester, method, work));
      this.#inFlight -= 1;
    }
    this.#bytes.ended(bytes);
    if (this.#isDraining && this.#inFlight === 0) this.close('drain');
  }

  /** @returns the errcode; empty when it went well */
  async #answer(
    frame: RequestFrame,
    id: RequestId,
    requester: Requester,
    method: Method | undefined,
    work: Work,
  ): Promise<string> {
    const desk = { ...this.#desk, limits: this.#hub.limits };
    try {
      const text = resultFrame(id, await runRequest(desk, method, frame, requester, this.#stream, this.#inFlight));
      work.bytesOut = text.length;
      this.#send(text);
      return '';
    } catch (error) {
      const told = this.#asMatrixError(error, method?.name ?? 'unknown');
      this.#send(errorFrame(id, told));
      if (REFUSALS_COUNTED.has(told.errcode)) this.#refused(told);
      return told.errcode;
    }
  }

  #send(text: string): void {
    if (this.#isClosing) return;
    this.#hub.metrics.sent();
    this.#socket.send(this.#hub.frames.bytes(text), TEXT);
    this.#bytes.written();
    // A client that does not read the answers is not read further: memory would grow with each of them.
    if (!this.#isPaused && this.#isOverfull()) {
      this.#isPaused = true;
      this.#socket.pause();
    }
  }

  /** A stream that asks for it will tell when it has drained; below that there is nothing to wait for. */
  #isOverfull(): boolean {
    return this.#transport.writableNeedDrain && this.#socket.bufferedAmount > this.#hub.limits.maxQueueBytes;
  }

  /** Closes when the token is no longer good. */
  async #recheck(client: SocketClient): Promise<void> {
    const name = await client.recheck();
    if (name !== undefined) this.close(name);
  }

  #asMatrixError(error: unknown, method: string): MatrixError {
    const told = matrixErrorOf(error, this.#hub.deps, { method, user_id: this.requester?.userId });
    this.#hub.metrics.refused(told);
    return told;
  }
}

/** A frame that waits for authentication. */
interface EarlyFrame {
  readonly text: string;
  /** What it weighs. */
  readonly bytes: number;
}

const TEXT = { binary: false } as const;
/** Refusals that a client could have spared itself. */
const REFUSALS_COUNTED: ReadonlySet<string> = new Set([
  'M_LIMIT_EXCEEDED',
  'M_UNRECOGNIZED',
  'M_MISSING_PARAM',
  'M_BAD_JSON',
  'M_GUEST_ACCESS_FORBIDDEN',
  'M_USER_SUSPENDED',
]);
