import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';

/** A path over the network from one server to another, which a test can cut. What passes it is not looked at. */
export class NetworkPath {
  readonly #server: Server;
  readonly #target: () => number | undefined;
  readonly #sockets = new Set<Socket>();
  #isCut = false;
  #isHanging = false;
  /** Connections that were wanted, also while it was cut. */
  attempts = 0;

  private constructor(target: () => number | undefined) {
    this.#target = target;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** @param target the port on 127.0.0.1 to which it leads; undefined while nobody listens */
  static async to(target: () => number | undefined): Promise<NetworkPath> {
    const path = new NetworkPath(target);
    path.#server.listen(0, '127.0.0.1');
    await once(path.#server, 'listening');
    return path;
  }

  /** Where it begins: `127.0.0.1:port`. */
  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Breaks what is open, and lets nothing through until it is healed. */
  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** The same, but connections are taken, and nothing is said. */
  hang(): void {
    this.cut();
    this.#isHanging = true;
  }

  heal(): void {
    this.#isCut = false;
    if (this.#isHanging) for (const socket of this.#sockets) socket.destroy();
    this.#isHanging = false;
  }

  async close(): Promise<void> {
    this.cut();
    this.#isHanging = false;
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(socket: Socket): void {
    this.attempts += 1;
    if (this.#isHanging) {
      this.#sockets.add(socket);
      socket
        .resume()
        .on('error', () => undefined)
        .on('close', () => this.#sockets.delete(socket));
      return;
    }
    const port = this.#isCut ? undefined : this.#target();
    if (port === undefined) {
      socket.destroy();
      return;
    }
    const onward = connect(port, '127.0.0.1');
    for (const [one, other] of [
      [socket, onward],
      [onward, socket],
    ] as const) {
      this.#sockets.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        this.#sockets.delete(one);
        other.destroy();
      });
    }
    socket.pipe(onward).pipe(socket);
  }
}
