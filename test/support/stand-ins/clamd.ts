import { createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';

/** The content that the fake scanner reports as malicious. */
export const EICAR = 'X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*';

/** A fake clamd with one virus and the command INSTREAM, with the protocol of the original. */
export class FakeClamd {
  readonly address: string;
  readonly #server: Server;
  readonly #sockets: Set<Socket>;
  /** Streams that were scanned. */
  scanned = 0;
  /** Its answer instead of a scan; 'nothing' for no answer, 'break' for closing the connection. */
  mood: 'well' | 'nothing' | 'break' | 'limit' = 'well';

  private constructor(server: Server, sockets: Set<Socket>) {
    this.#server = server;
    this.#sockets = sockets;
    this.address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async start(): Promise<FakeClamd> {
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket)).on('error', () => undefined);
      clamd.#serve(socket);
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    const clamd: FakeClamd = new FakeClamd(server, sockets);
    return clamd;
  }

  #serve(socket: Socket): void {
    if (this.mood === 'break') {
      socket.destroy();
      return;
    }
    let bytes = Buffer.alloc(0);
    const content: Buffer[] = [];
    let isBegun = false;
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (!isBegun) {
        const end = bytes.indexOf(0);
        if (end < 0) return;
        if (bytes.subarray(0, end).toString() !== 'zINSTREAM') {
          socket.end('UNKNOWN COMMAND\0');
          return;
        }
        isBegun = true;
        bytes = bytes.subarray(end + 1);
        if (this.mood === 'limit') socket.end('INSTREAM size limit exceeded. ERROR\0');
      }
      while (bytes.length >= 4) {
        const length = bytes.readUInt32BE(0);
        if (length === 0) {
          this.#answer(socket, Buffer.concat(content));
          return;
        }
        if (bytes.length < 4 + length) return;
        content.push(bytes.subarray(4, 4 + length));
        bytes = bytes.subarray(4 + length);
      }
    });
  }

  #answer(socket: Socket, content: Buffer): void {
    if (this.mood === 'nothing') return;
    this.scanned += 1;
    socket.end(content.includes(EICAR) ? 'stream: Eicar-Signature FOUND\0' : 'stream: OK\0');
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
