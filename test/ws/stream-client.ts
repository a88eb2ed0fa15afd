import { type ClientOptions, WebSocket } from 'ws';
import { recorder } from '#test/support/schema-recorder.ts';

export interface StreamClientOptions extends ClientOptions {
  /** Undefined: m.json. */
  readonly protocols?: readonly string[];
  readonly query?: string;
  readonly token?: string;
}

// What a test expects in a frame it says itself.
// oxlint-disable-next-line typescript/no-explicit-any
export type Frame = any;

const WAIT_MS = 45_000;

/** A handshake that was answered by HTTP. */
export class Refused extends Error {
  readonly status: number;
  readonly body: Frame;
  constructor(status: number, body: Frame) {
    super(`the handshake was answered ${status}`);
    this.status = status;
    this.body = body;
  }
}

/** An ordinary client of the WebSocket API. It keeps all frames that came. */
export class StreamClient {
  readonly socket: WebSocket;
  readonly frames: Frame[] = [];
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  #requests = 0;
  #syncs = 0;
  #wake: (() => void) | undefined;

  readonly #isMute: boolean;

  /** @param isMute whether it leaves pings unanswered */
  private constructor(socket: WebSocket, isMute: boolean) {
    this.socket = socket;
    this.#isMute = isMute;
    socket.on('message', (data) => {
      const frame = JSON.parse((data as Buffer).toString()) as Frame;
      // A frame is what /sync would have answered.
      if (frame.next_batch !== undefined) recorder.record('GET', '/_matrix/client/v3/sync', 200, frame);
      this.frames.push(frame);
      this.#wake?.();
    });
    this.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => {
        resolve({ code, reason: reason.toString() });
        this.#wake?.();
      });
    });
  }

  static open(url: string, options: StreamClientOptions): Promise<StreamClient> {
    const { protocols = ['m.json'], query, token, ...more } = options;
    const socket = new WebSocket(`${url}${query === undefined ? '' : `?${query}`}`, [...protocols], {
      ...more,
      ...(token === undefined ? {} : { headers: { ...more.headers, Authorization: `Bearer ${token}` } }),
    });
    const client = new StreamClient(socket, more.autoPong === false);
    return new Promise((resolve, reject) => {
      socket.once('open', () => resolve(client));
      socket.on('error', reject);
      socket.on('unexpected-response', (_request, response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk.toString()));
        response.on('end', () =>
          reject(new Refused(response.statusCode ?? 0, text === '' ? undefined : JSON.parse(text))),
        );
      });
    });
  }

  send(frame: unknown): void {
    this.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  /** Waits until something is among the frames. */
  async until<T>(find: () => T | undefined): Promise<T> {
    const started = Date.now();
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      if (Date.now() - started > WAIT_MS)
        throw new Error(`waited in vain; frames: ${JSON.stringify(this.frames).slice(0, 2_000)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  response(id: string | number): Promise<Frame> {
    return this.until(() => this.frames.find((frame) => frame.id === id));
  }

  /** Sends a request and waits for its answer, whichever it is. */
  request(method: string, params?: unknown): Promise<Frame> {
    const id = `r${(this.#requests += 1)}`;
    this.send({ id, method, ...(params === undefined ? {} : { params }) });
    return this.response(id);
  }

  /** Sends a request that has to succeed. */
  async must(method: string, params?: unknown): Promise<Frame> {
    const { result, error } = await this.request(method, params);
    if (result === undefined) throw new Error(`${method}: ${JSON.stringify(error)}`);
    return result;
  }

  get syncs(): readonly Frame[] {
    return this.frames.filter((frame) => frame.next_batch !== undefined);
  }

  /** The next sync frame that was not taken yet. */
  async sync(): Promise<Frame> {
    const frame = await this.until(() => this.syncs[this.#syncs]);
    this.#syncs += 1;
    return frame;
  }

  /** The token up to which this client knows. */
  get nextBatch(): string {
    return this.syncs.at(-1).next_batch;
  }

  /** Events of a room's timeline, over all frames. */
  timeline(roomId: string): Frame[] {
    return this.syncs.flatMap((frame) => frame.rooms?.join?.[roomId]?.timeline?.events ?? []);
  }

  bodies(roomId: string): string[] {
    return this.timeline(roomId)
      .filter((event) => event.type === 'm.room.message')
      .map((event) => event.content.body);
  }

  /** Waits for a message in a room. */
  message(roomId: string, body: string): Promise<Frame> {
    return this.until(() => this.timeline(roomId).find((event) => event.content.body === body));
  }

  /**
   * Resolves when the server has what this client sent in answer to its pings, or the socket is closed: the answers are there when a
   * second ping of the client's own, sent after they were, is answered.
   */
  async settle(): Promise<void> {
    if (this.#isMute) return;
    for (let trips = 0; trips < 2 && this.socket.readyState === WebSocket.OPEN; trips++) {
      const answered = new Promise<void>((resolve) => void this.socket.once('pong', () => resolve()));
      this.socket.ping();
      await Promise.race([answered, this.closed]);
    }
  }

  async end(): Promise<void> {
    this.socket.close();
    await this.closed;
  }
}
