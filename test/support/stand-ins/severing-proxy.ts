import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { systemTimers } from '#src/kernel/timers.ts';

/** A path to PostgreSQL that a test can cut: what clients send arrives, and what becomes of the answers is the test's choice. */
export class SeveringProxy {
  readonly #server: Server;
  readonly #pairs = new Set<{ readonly client: Socket; readonly upstream: Socket }>();
  #deaf = false;
  #isAway = false;
  /** The database's URL through this proxy. */
  readonly url: string;

  private constructor(server: Server, url: string) {
    this.#server = server;
    this.url = url;
  }

  /**
   * @param target URL of the database itself: a TCP address, or a Unix socket given as `?host=/folder`
   * @param options.goodbyeMs milliseconds that it takes until a client that ends its connection sees the other end close
   */
  static async to(target: string, options: { readonly goodbyeMs?: number } = {}): Promise<SeveringProxy> {
    const address = new URL(target);
    const folder = address.searchParams.get('host');
    const port = Number(address.port === '' ? (address.searchParams.get('port') ?? '5432') : address.port);
    const connect = (): Socket =>
      folder === null
        ? createConnection({ host: address.hostname, port })
        : createConnection({ path: `${folder}/.s.PGSQL.${port}` });
    const { goodbyeMs } = options;
    const server = createServer({ allowHalfOpen: goodbyeMs !== undefined }, (client) => {
      if (proxy.#isAway) {
        client.on('error', () => undefined);
        client.destroy();
      } else proxy.#accept(client, connect(), goodbyeMs);
    });
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

  #accept(client: Socket, upstream: Socket, goodbyeMs: number | undefined): void {
    const pair = { client, upstream };
    this.#pairs.add(pair);
    client.on('data', (chunk) => upstream.write(chunk));
    upstream.on('data', (chunk) => {
      if (!this.#deaf) client.write(chunk);
    });
    client.on('error', () => undefined);
    upstream.on('error', () => undefined);
    if (goodbyeMs === undefined) upstream.on('close', () => client.destroy());
    else {
      client.on('end', () => {
        void systemTimers.sleep(goodbyeMs).then(() => {
          this.#pairs.delete(pair);
          client.end();
        });
      });
    }
    client.on('close', () => {
      this.#pairs.delete(pair);
      upstream.end();
    });
  }

  /** How many connections have not ended on both sides. */
  connections(): number {
    return this.#pairs.size;
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

  /** The database is away: connections break off, and new ones are closed at once. */
  away(): void {
    this.#isAway = true;
    for (const { client, upstream } of this.#pairs) {
      client.destroy();
      upstream.destroy();
    }
    this.#pairs.clear();
  }

  /** It is there again. */
  back(): void {
    this.#isAway = false;
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
