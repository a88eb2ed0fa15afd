import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { QuietKoa } from '#src/http/quiet-koa.ts';

describe('Koa as this server uses it', () => {
  const serving = async (
    app: QuietKoa,
    look: (request: IncomingMessage, response: ServerResponse) => void,
    use: (url: string) => Promise<void>,
  ): Promise<void> => {
    const handle = app.callback();
    const server = createServer((request, response) => {
      void handle(request, response);
      look(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  };

  it('leaves no listener on a request that waits, on its answer or on its connection', async () => {
    const answer = Promise.withResolvers<void>();
    const app = new QuietKoa(() => undefined);
    app.use(async (ctx) => {
      await answer.promise;
      ctx.res.writeHead(200).end('done');
    });
    const bare = { request: 0, response: 0, socket: 0 };
    const count = (request: IncomingMessage, response: ServerResponse): typeof bare => {
      const listeners = (of: IncomingMessage | ServerResponse | IncomingMessage['socket']): number =>
        of.eventNames().reduce((sum, name) => sum + of.listenerCount(name), 0);
      return { request: listeners(request), response: listeners(response), socket: listeners(request.socket) };
    };
    const server = createServer((request, response) => {
      Object.assign(bare, count(request, response));
      response.end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    await (await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)).text();
    await new Promise((resolve) => server.close(resolve));

    let waiting: typeof bare | undefined;
    await serving(
      app,
      (request, response) => (waiting = count(request, response)),
      async (url) => {
        const text = fetch(url).then((response) => response.text());
        answer.resolve();
        expect(await text).to.equal('done');
      },
    );
    expect(waiting).to.deep.equal(bare);
  });

  it('closes the connection of a request in which something escapes, and says what', async () => {
    const failures: unknown[] = [];
    const app = new QuietKoa((error) => failures.push(error));
    const error = new Error('escaped');
    app.use(() => Promise.reject(error));
    await serving(
      app,
      () => undefined,
      async (url) => {
        const outcome = await new Promise<string>((resolve) => {
          get(url, () => resolve('answered')).on('error', ({ message }) => resolve(message));
        });
        expect(outcome).to.equal('socket hang up');
      },
    );
    expect(failures).to.deep.equal([error]);
  });
});
