import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { expect } from 'chai';
import { Type } from 'typebox';
import { endpoint } from '#src/http/endpoint.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { until } from '#test/support/until.ts';
import { TestServer } from './serve.ts';

const certificate = (name: string): { cert: Buffer; key: Buffer } => ({
  cert: readFileSync(new URL(`certificates/${name}.crt`, import.meta.url)),
  key: readFileSync(new URL(`certificates/${name}.key`, import.meta.url)),
});

/** Who waits in a handler, and how they are let go on. */
const waiting: (() => void)[] = [];

/** Answers when it is let go on, or where it heeds the signal when that is aborted; at once when it is not asked to wait. */
const wait = (operationId: string, heedsSignal: boolean) =>
  endpoint({
    operationId,
    summary: '',
    method: 'GET',
    path: `/${operationId}`,
    auth: 'none',
    rateLimit: 'none',
    query: Type.Object({ wait: Type.Optional(Type.Boolean()) }),
    response: Type.Object({}),
    errcodes: [],
    handler: async (_, { query, info }) => {
      if (query.wait === true)
        await new Promise<void>((resolve) => {
          waiting.push(resolve);
          if (heedsSignal) info.signal.addEventListener('abort', () => resolve());
        });
      return { aborted: heedsSignal && info.signal.aborted };
    },
  });

const ENDPOINTS = [wait('poll', true), wait('work', false)];
const HANDSHAKE =
  'Host: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n\r\n';

const begun = (count: number): Promise<unknown> => until('requests have begun', () => waiting.length === count);

/** Drains within 100 ms, which pass by the clock alone. */
const drainInTime = async (server: TestServer, clock: ManualClock): Promise<void> => {
  let isDrained = false;
  const drained = server.server.drain(100).then(() => (isDrained = true));
  await clock.advance(99);
  expect(isDrained).to.equal(false);
  await clock.advance(1);
  await drained;
};

/** Waits until a connection is closed, in whatever way. */
const closing = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once('close', () => resolve());
  });

describe('HttpServer', () => {
  let server: TestServer;
  /** By which those drain that measure how long it takes. */
  let clock: ManualClock;
  beforeEach(() => {
    waiting.length = 0;
    clock = new ManualClock();
  });
  afterEach(async () => {
    const stopped = server.stop();
    await clock.advance(1_000);
    await stopped;
  });

  describe('drain', () => {
    beforeEach(async () => {
      server = await new TestServer({}, false, clock).start(ENDPOINTS, {});
    });

    it('does not wait for connections that were opened ahead and never used', async () => {
      const unused = connect(server.port, '127.0.0.1');
      await once(unused, 'connect');
      await server.ask('GET', '/poll');
      const closed = closing(unused.on('error', () => undefined));
      // Only the clock could end this otherwise, and it stands still.
      await server.server.drain(5_000);
      await closed;
    });
    it('answers long-polls at once and closes their connections', async () => {
      const polls = [1, 2, 3].map(() =>
        server.ask('GET', '/poll?wait=true', { headers: { connection: 'keep-alive' } }),
      );
      await begun(3);
      await server.server.drain(5_000);
      for (const poll of polls) {
        const answer = await poll;
        expect(answer.json).to.deep.equal({ aborted: true });
        expect(answer.headers['connection']).to.equal('close');
      }
    });
    it('lets running requests finish', async () => {
      const work = server.ask('GET', '/work?wait=true');
      await begun(1);
      const drained = server.server.drain(5_000);
      waiting[0]?.();
      await drained;
      expect((await work).status).to.equal(200);
    });
    it('breaks off what is not done when the time is over', async () => {
      const work = server.ask('GET', '/work?wait=true').catch((error: unknown) => error);
      await begun(1);
      await drainInTime(server, clock);
      expect(await work).to.be.instanceOf(Error);
    });
    it('accepts no new connections, and closes idle ones', async () => {
      const idle = connect(server.port, '127.0.0.1');
      idle.write('GET /work HTTP/1.1\r\nHost: t\r\n\r\n');
      await once(idle, 'data');
      const closed = once(idle, 'close');
      await server.server.drain(5_000);
      await closed;
      const failure = await server.ask('GET', '/work').catch((error: unknown) => error);
      expect((failure as NodeJS.ErrnoException).code).to.equal('ECONNREFUSED');
      let refusal: unknown;
      await server.server.listen({ bind: '127.0.0.1', port: 0 }).catch((error: unknown) => (refusal = error));
      expect(String(refusal)).to.contain('draining');
    });
    it('is the same drain when it is asked for twice', async () => {
      expect(server.server.drain(10)).to.equal(server.server.drain(10));
    });
  });

  it('says when the port is taken', async () => {
    server = await new TestServer().start(ENDPOINTS, {});
    const failure = await server.server
      .listen({ bind: '127.0.0.1', port: server.port })
      .catch((error: unknown) => error);
    expect((failure as NodeJS.ErrnoException).code).to.equal('EADDRINUSE');
  });

  it('serves TLS beside plain HTTP and takes another certificate without a restart', async () => {
    server = await new TestServer().start(ENDPOINTS, {});
    const { port, url } = await server.server.listen({ bind: '127.0.0.1', port: 0, tls: certificate('first') });
    expect(url).to.equal(`https://127.0.0.1:${port}`);
    const ask = (): Promise<{ name: unknown; text: string }> =>
      new Promise((resolve, reject) => {
        const socket = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => {
          const name = socket.getPeerCertificate().subject.CN;
          let text = '';
          socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
          socket.on('close', () => resolve({ name, text }));
          socket.write('GET /work HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n');
        });
        socket.on('error', reject);
      });
    const before = await ask();
    expect(before.name).to.equal('first.test');
    expect(before.text).to.match(/^HTTP\/1\.1 200/);
    server.server.reloadTls(certificate('second'));
    expect((await ask()).name).to.equal('second.test');
    expect(() => server.server.reloadTls({ cert: 'nonsense', key: 'nonsense' })).to.throw();
    expect((await ask()).name).to.equal('second.test');
  });

  describe('WebSocket handshakes', () => {
    const sockets: Socket[] = [];
    beforeEach(async () => {
      server = new TestServer({}, false, clock);
      server.server.onUpgrade('/stream', (_request, socket) => {
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
      });
      await server.start(ENDPOINTS, {});
    });
    afterEach(() => {
      for (const socket of sockets.splice(0)) socket.destroy();
    });
    const shake = async (path: string): Promise<{ socket: Socket; status: string }> => {
      const socket = connect(server.port, '127.0.0.1');
      sockets.push(socket);
      socket.write(`GET ${path} HTTP/1.1\r\n${HANDSHAKE}`);
      const [chunk] = (await once(socket, 'data')) as [Buffer];
      return { socket, status: chunk.toString().slice(9, 12) };
    };

    it('go to the hook of their path', async () => {
      expect((await shake('/stream?since=s1')).status).to.equal('101');
    });
    it('are answered like any request on other paths', async () => {
      expect((await shake('/nope')).status).to.equal('404');
      expect((await shake('/work')).status).to.equal('200');
    });
    it('leave offers of other protocols alone', async () => {
      const text = await server.speak(
        'GET /work HTTP/1.1\r\nHost: t\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n',
      );
      expect(text).to.match(/^HTTP\/1\.1 200/);
    });
    it('do not hold up a drain beyond its time', async () => {
      const { socket } = await shake('/stream');
      const closed = once(socket, 'close');
      await drainInTime(server, clock);
      await closed;
    });
  });

  describe('limits', () => {
    it('answers 431 to headers that are too large, and 400 to what is not HTTP', async () => {
      server = await new TestServer({ maxHeaderBytes: 2_048 }).start(ENDPOINTS, {});
      expect(await server.speak(`GET /work HTTP/1.1\r\nHost: t\r\nX: ${'x'.repeat(4_000)}\r\n\r\n`)).to.match(
        /^HTTP\/1\.1 431[^]*"errcode"/,
      );
      expect(await server.speak('hello\r\n\r\n')).to.match(/^HTTP\/1\.1 400[^]*"errcode"/);
    });
    it('closes a connection whose headers trickle in too slowly', async () => {
      server = await new TestServer({ headersTimeoutMs: 150, requestTimeoutMs: 300 }).start(ENDPOINTS, {});
      expect(await server.speak('GET /work HTTP/1.1\r\nHost:')).to.match(/^HTTP\/1\.1 408/);
    });
    it('drops connections beyond those that one address may have, and beyond the most there may be', async () => {
      server = await new TestServer({ maxConnections: 6, maxConnectionsPerAddress: 2 }).start(ENDPOINTS, {});
      const from = (localAddress: string): Socket =>
        connect({ port: server.port, host: '127.0.0.1', localAddress }).on('error', () => {});
      const refused = async (socket: Socket): Promise<void> => {
        await closing(socket);
        expect(socket.bytesRead).to.equal(0);
      };
      const served = async (socket: Socket): Promise<void> => {
        socket.write('GET /work HTTP/1.1\r\nHost: t\r\n\r\n');
        expect(String((await once(socket, 'data'))[0])).to.match(/^HTTP\/1\.1 200/);
      };
      const open = [from('127.0.0.1'), from('127.0.0.1')];
      for (const socket of open) await served(socket);
      await refused(from('127.0.0.1'));
      for (const address of ['127.0.0.2', '127.0.0.2', '127.0.0.3']) {
        const socket = from(address);
        open.push(socket);
        await served(socket);
      }
      // One is left of six: half of it is less than one.
      await refused(from('127.0.0.4'));
      open[0]?.destroy();
      open[1]?.destroy();
      await until('an address may come again when its connections are closed', async () => {
        const socket = from('127.0.0.1');
        open.push(socket);
        socket.write('GET /work HTTP/1.1\r\nHost: t\r\n\r\n');
        const heard = new Promise((resolve) => socket.once('data', resolve));
        return (await Promise.race([heard, closing(socket)])) instanceof Buffer;
      });
      for (const socket of open) socket.destroy();
    });
    it('closes a connection with more requests in line than any client sends', async () => {
      server = await new TestServer().start(ENDPOINTS, {});
      const request = 'GET /poll?wait=true HTTP/1.1\r\nHost: t\r\n\r\n';
      const waiting = connect(server.port, '127.0.0.1');
      waiting.write(request.repeat(16));
      const closed = connect(server.port, '127.0.0.1').on('error', () => {});
      closed.write(request.repeat(18));
      await closing(closed);
      expect([closed.bytesRead, waiting.closed]).to.deep.equal([0, false]);
      waiting.destroy();
    });
    it('reads no further where it closes a connection, however many requests were read with it', async () => {
      server = await new TestServer().start(ENDPOINTS, {});
      let looked = 0;
      const count = (): void => void (looked += 1);
      subscribe('http.server.request.start', count);
      try {
        const socket = connect(server.port, '127.0.0.1').on('error', () => {});
        socket.write('GET /nope HTTP/1.1\r\nHost: t\r\n\r\n'.repeat(1_500));
        await closing(socket);
        expect(looked).to.be.within(17, 100);
      } finally {
        unsubscribe('http.server.request.start', count);
      }
    });
    it('begins with a request when the one before it on the connection was answered', async () => {
      const began: string[] = [];
      const proceed: (() => void)[] = [];
      const step = endpoint({
        operationId: 'step',
        summary: '',
        auth: 'none',
        rateLimit: 'none',
        response: Type.Object({}),
        errcodes: [],
        method: 'POST',
        path: '/step/{name}',
        params: Type.Object({ name: Type.String() }),
        body: Type.Object({}),
        handler: async (_, { params }) => {
          began.push(params.name);
          await new Promise<void>((resolve) => proceed.push(resolve));
          return {};
        },
      });
      server = await new TestServer().start([step], {});
      const post = (name: string): string => `POST /step/${name} HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n{}`;
      const socket = connect(server.port, '127.0.0.1');
      let answers = '';
      socket.on('data', (chunk: Buffer) => (answers += chunk.toString()));
      socket.write(['a', 'b', 'c'].map(post).join(''));
      for (const name of ['a', 'b', 'c']) {
        await until(`${name} begins`, () => began.includes(name));
        expect(began.at(-1)).to.equal(name);
        proceed.shift()?.();
      }
      await until('all are answered', () => answers.match(/HTTP\/1\.1 200/g)?.length === 3);
      socket.destroy();
    });
    it('keeps connections open between requests', async () => {
      server = await new TestServer().start(ENDPOINTS, {});
      const request = 'GET /work HTTP/1.1\r\nHost: t\r\n\r\n';
      const text = await server.speak(`${request}${request}GET /work HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n`);
      expect(text.match(/HTTP\/1\.1 200/g)).to.have.length(3);
    });
  });
});
