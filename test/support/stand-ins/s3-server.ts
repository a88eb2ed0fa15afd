import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { filesIn } from '#test/support/media.ts';

interface S3rver {
  run(): Promise<AddressInfo>;
  readonly httpServer: Server;
}

type S3rverClass = new (options: object) => S3rver;

const S3rverServer = createRequire(import.meta.url)('@20minutes/s3rver') as S3rverClass;

/** The one account that the server knows. */
export const S3_CREDENTIALS = { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' } as const;
export const S3_BUCKET = 'media';

/** An S3-compatible server in the process of the tests, with one empty bucket. It checks signatures. */
export class S3Server {
  readonly endpoint: string;
  readonly #folder: string;
  readonly #server: S3rver;

  private constructor(server: S3rver, folder: string, port: number) {
    this.#server = server;
    this.#folder = folder;
    this.endpoint = `http://127.0.0.1:${port}`;
  }

  static async start(): Promise<S3Server> {
    const folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-s3-'));
    const server = new S3rverServer({
      address: '127.0.0.1',
      port: 0,
      silent: true,
      directory: folder,
      configureBuckets: [{ name: S3_BUCKET }],
    });
    const { port } = await server.run();
    return new S3Server(server, folder, port);
  }

  /** The names of the objects that are there. */
  async objects(): Promise<string[]> {
    const files = await filesIn(join(this.#folder, S3_BUCKET));
    return files.filter((file) => file.endsWith('_object')).map((file) => file.replace(/^.*\/|\._S3rver_object$/g, ''));
  }

  /** How many uploads in pieces are under way. */
  async pieces(): Promise<number> {
    return (await filesIn(join(this.#folder, S3_BUCKET, '.S3rver_uploads'))).length;
  }

  async stop(): Promise<void> {
    this.#server.httpServer.closeAllConnections();
    await new Promise((resolve) => this.#server.httpServer.close(resolve));
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** A server that answers as a test says, on a port of its own. */
export class OddServer {
  readonly url: string;
  readonly #server: Server;
  /** Method and target of what was asked, in order. */
  readonly asked: string[];

  private constructor(server: Server, asked: string[]) {
    this.#server = server;
    this.asked = asked;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async start(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<OddServer> {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      answer(request, response);
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    return new OddServer(server, asked);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
