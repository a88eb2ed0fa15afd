import { connect, type Socket } from 'node:net';

export interface Answer {
  readonly status: number;
  readonly body: Buffer;
}

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export interface ConnectionOptions {
  /** The loopback address that the connection comes from: each has 28 000 ports of its own. */
  readonly localAddress?: string | undefined;
  /** Milliseconds without a byte after which a request fails. Default 60 s. */
  readonly timeoutMs?: number;
}

const HEAD_END = '\r\n\r\n';
const LAST_CHUNK = '0\r\n\r\n';

interface Waiter {
  readonly request: string;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
  /** Whether it was sent on a connection that had answered before, which the server may have closed meanwhile. */
  readonly reused: boolean;
}

/**
 * One keep-alive connection with one request at a time. Knows just enough of HTTP/1.1 to load a server: a general client uses more
 * processor time per request than the server does, and on two cores the load would measure itself.
 */
export class HttpConnection {
  readonly #endpoint: Endpoint;
  readonly #options: ConnectionOptions;
  #socket: Socket | undefined;
  #served = 0;
  #waiter: Waiter | undefined;
  #head: Buffer | undefined;
  #status = 0;
  #missing = 0;
  #parts: Buffer[] = [];

  constructor(endpoint: Endpoint, options: ConnectionOptions = {}) {
    this.#endpoint = endpoint;
    this.#options = options;
  }

  /** Sends a request, as text with its head (see `requestText`). Rejects on a broken connection or a timeout, never on a status. */
  send(request: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#waiter !== undefined) {
        reject(new Error('this connection is busy'));
        return;
      }
      const socket = this.#socket ?? this.#open();
      this.#waiter = { request, resolve, reject, reused: this.#served > 0 };
      socket.write(request);
    });
  }

  close(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.destroy();
    this.#fail(new Error('the connection was closed'));
  }

  #open(): Socket {
    const { localAddress, timeoutMs = 60_000 } = this.#options;
    const socket = connect({
      ...this.#endpoint,
      ...(localAddress === undefined ? {} : { localAddress }),
      noDelay: true,
    });
    this.#socket = socket;
    this.#served = 0;
    this.#reset();
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.setTimeout(timeoutMs, () => {
      if (this.#waiter !== undefined) socket.destroy(new Error(`no answer within ${timeoutMs} ms`));
    });
    let failure: Error | undefined;
    socket.on('error', (error) => (failure = error));
    socket.on('close', () => {
      if (this.#socket !== socket) return;
      this.#socket = undefined;
      const waiter = this.#waiter;
      if (waiter?.reused === true && this.#status === 0 && this.#head === undefined) {
        // The server closed the idle connection at the same moment.
        this.#waiter = { ...waiter, reused: false };
        this.#open().write(waiter.request);
        return;
      }
      this.#fail(failure ?? new Error('the server closed the connection'));
    });
    return socket;
  }

  #reset(): void {
    this.#head = undefined;
    this.#status = 0;
    this.#missing = 0;
    this.#parts = [];
  }

  #fail(error: Error): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    this.#reset();
    waiter?.reject(error);
  }

  #onData(chunk: Buffer): void {
    let data = chunk;
    if (this.#status === 0) {
      if (this.#head !== undefined) data = Buffer.concat([this.#head, chunk]);
      const end = data.indexOf(HEAD_END);
      if (end < 0) {
        this.#head = data;
        return;
      }
      this.#head = undefined;
      const head = data.toString('latin1', 0, end);
      this.#status = Number(head.slice(9, 12));
      const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
      if (length !== undefined) this.#missing = Number(length);
      else this.#missing = /\r\ntransfer-encoding: *chunked/i.test(head) ? Number.POSITIVE_INFINITY : 0;
      data = data.subarray(end + HEAD_END.length);
    }
    if (data.length > 0) this.#parts.push(data);
    if (this.#missing === Number.POSITIVE_INFINITY) {
      const last = this.#parts.at(-1);
      if (last === undefined) return;
      const tail = last.length < LAST_CHUNK.length ? Buffer.concat(this.#parts) : last;
      if (tail.toString('latin1', tail.length - LAST_CHUNK.length) === LAST_CHUNK)
        this.#done(unchunked(Buffer.concat(this.#parts)));
      return;
    }
    this.#missing -= data.length;
    if (this.#missing <= 0) this.#done(this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts));
  }

  #done(body: Buffer): void {
    const waiter = this.#waiter;
    const status = this.#status;
    this.#waiter = undefined;
    this.#served += 1;
    this.#reset();
    waiter?.resolve({ status, body });
  }
}

/** Request line, head and body of a JSON request as one text. */
export function requestText(method: string, path: string, token?: string, body?: unknown): string {
  const json = body === undefined ? '' : JSON.stringify(body);
  return (
    `${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n` +
    (token === undefined ? '' : `Authorization: Bearer ${token}\r\n`) +
    (body === undefined ? '' : `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(json)}\r\n`) +
    `\r\n${json}`
  );
}

function unchunked(raw: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; ;) {
    const lineEnd = raw.indexOf('\r\n', at);
    const size = Number.parseInt(raw.toString('latin1', at, lineEnd), 16);
    if (lineEnd < 0 || !(size > 0)) return Buffer.concat(parts);
    parts.push(raw.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = lineEnd + 2 + size + 2;
  }
}
