import { WebSocket } from 'ws';
import type { Endpoint } from './http.ts';
import { SYNC_FILTER, type Person } from './people.ts';

export const STREAM_PATH = '/_matrix/client/unstable/org.tsudoi.websocket/stream';
export const STREAM_SUBPROTOCOL = 'm.json';
const OPEN_MS = 30_000;

/** One connection to the WebSocket API. */
export class StreamSocket {
  readonly #socket: WebSocket;
  /** Called with every frame after the first. */
  onFrame: (frame: Buffer) => void = () => undefined;
  /** Called when it closes without `close()` having been called. */
  onLost: (reason: string) => void = () => undefined;
  #open = false;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  /** Connects, authenticates, and waits for the first frame. */
  static open(endpoint: Endpoint, person: Person, localAddress?: string): Promise<StreamSocket> {
    const socket = new WebSocket(`ws://${endpoint.host}:${endpoint.port}${STREAM_PATH}`, [STREAM_SUBPROTOCOL], {
      perMessageDeflate: false,
      skipUTF8Validation: true,
      maxPayload: 64 * 1024 * 1024,
      ...(localAddress === undefined ? {} : { localAddress }),
    });
    const stream = new StreamSocket(socket);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        socket.terminate();
        reject(new Error('a WebSocket got no first frame'));
      }, OPEN_MS);
      // Without an id it is not answered: the first frame is the initial sync.
      const auth = { method: 'auth', params: { token: person.token, filter: SYNC_FILTER, set_presence: 'offline' } };
      socket.on('open', () => socket.send(JSON.stringify(auth)));
      socket.on('message', (frame: Buffer) => {
        if (stream.#open) {
          stream.onFrame(frame);
          return;
        }
        stream.#open = true;
        clearTimeout(timer);
        resolve(stream);
      });
      socket.on('error', (error) => {
        clearTimeout(timer);
        reject(error);
      });
      socket.on('close', (code, reason) => {
        clearTimeout(timer);
        const why = `closed with ${code} ${reason.toString()}`;
        reject(new Error(why));
        if (stream.#open) stream.onLost(why);
      });
    });
  }

  close(): void {
    this.onLost = () => undefined;
    this.#socket.terminate();
  }
}

/** Connections of one address: few enough that its share of all connections, half of what the others leave, does not run out. */
const OF_ADDRESS = 1_000;

/** A loopback address of its own for every so many connections, as people have who connect from many places. */
export function sourceAddress(index: number): string | undefined {
  if (process.platform !== 'linux' || index < OF_ADDRESS) return undefined;
  return `127.0.0.${1 + Math.floor(index / OF_ADDRESS)}`;
}

/** Does `work` for every index below `count`, `width` at a time. */
export async function inParallel(count: number, width: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: Math.min(width, count) }, async () => {
      while (next < count) {
        const index = next;
        next += 1;
        await work(index);
      }
    }),
  );
}
