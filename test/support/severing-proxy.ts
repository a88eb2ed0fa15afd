import { createConnection, createServer, type Server, type Socket } from 'node:net';

/** A path to PostgreSQL that a test can cut: what clients send arrives, and what becomes of the answers is the test's choice. */
export class SeveringProxy {
  readonly #server: Server;
  readonly #pairs = new Set<{ readonly client: Socket; readonly upstream: Socket }>();
  #deaf = false;
  /** The database's URL through this proxy. */
  readonly url: string;

  private constructor(server: Server, url: string) {
    this.#server = server;
    this.url = url;
  }

  /** @param target URL of the database itself: a TCP address, or a Unix socket given as `?host=/folder` */
  static async to(target: string): Promise<SeveringProxy> {
    const address = new URL(target);
    const folder = address.searchParams.get('host');
    const port = Number(address.port === '' ? (address.searchParams.get('port') ?? '5432') : address.port);
    const connect = (): Socket =>
      folder === null
        ? createConnection({ host: address.hostname, port })
        : createConnection({ path: `${folder}/.s.PGSQL.${port}` });
    const server = createServer((client) => proxy.#accept(client, connect()));
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    const bound = server.address();
    if (bound === null || typeof bound === 'string') throw new Error('the proxy has no port');
    const url = new URL(target);
    url.searchParams.delete('host');
    url.searchParams.delete('port');
    url.hostname = '127.0.0.1';
    url.port = String(bound.port);
    const proxy = new SeveringProxy(server, url.href);
    return proxy;
  }

  #accept(client: Socket, upstream: Socket): void {
    const pair = { client, upstream };
    this.#pairs.add(pair);
    client.on('data', (chunk) => upstream.write(chunk));
    upstream.on('data', (chunk) => {
      if (!this.#deaf) client.write(chunk);
    });
    client.on('error', () => undefined);
    upstream.on('error', () => undefined);
    upstream.on('close', () => client.destroy());
    client.on('close', () => {
      this.#pairs.delete(pair);
      upstream.end();
    });
  }

  /** From now on no answer of the database arrives; what is sent to it does. */
  swallowAnswers(): void {
    this.#deaf = true;
  }

  /** Breaks every connection on the client's side, and lets answers through on new ones. The database itself is not told. */
  sever(): void {
    this.#deaf = false;
    for (const { client, upstream } of this.#pairs) {
      upstream.removeAllListeners('data');
      upstream.on('data', () => undefined);
      client.removeAllListeners('close');
      client.destroy();
    }
    this.#pairs.clear();
  }

  async close(): Promise<void> {
    for (const { client, upstream } of this.#pairs) {
      client.destroy();
      upstream.destroy();
    }
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }
}
