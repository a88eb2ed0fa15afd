import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect } from 'chai';
import { Type } from 'typebox';
import { type Endpoint, endpoint, Reply } from '#src/http/endpoint.ts';
import { BytesInFlight, type BytesInFlightLimits } from '#src/kernel/limits/bytes-in-flight.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { until } from '#test/support/until.ts';
import { TestServer } from './serve.ts';

const MiB = 1024 * 1024;
/** More than the operating system takes of an answer that nobody reads. */
const LONG = 'x'.repeat(24 * MiB);
const LIMITS: BytesInFlightLimits = { total: 512 * MiB, user: 64 * MiB, address: 256 * MiB, connection: 64 * MiB };

const gate = Promise.withResolvers<void>();
const common = { summary: '', response: Type.Object({}), errcodes: [], rateLimit: 'none' } as const;
const ENDPOINTS: Endpoint<object>[] = [
  endpoint({
    ...common,
    operationId: 'stranger',
    method: 'POST',
    path: '/stranger',
    auth: 'none',
    body: Type.Object({}),
    handler: async () => ({}),
  }),
  endpoint({
    ...common,
    operationId: 'user',
    method: 'POST',
    path: '/user',
    auth: 'accessToken',
    guests: 'refused',
    suspended: 'refused',
    body: Type.Object({}),
    handler: async () => ({}),
  }),
  endpoint({
    ...common,
    operationId: 'slow',
    method: 'POST',
    path: '/slow',
    auth: 'accessToken',
    guests: 'refused',
    suspended: 'refused',
    body: Type.Object({}),
    handler: async () => {
      await gate.promise;
      return {};
    },
  }),
  endpoint({
    ...common,
    operationId: 'long',
    method: 'GET',
    path: '/long',
    auth: 'accessToken',
    guests: 'refused',
    suspended: 'refused',
    handler: async () => new Reply({ json: LONG, contentType: 'application/octet-stream' }),
  }),
  endpoint({
    ...common,
    operationId: 'text',
    method: 'GET',
    path: '/text',
    auth: 'none',
    handler: async () => new Reply({ json: '集\u{1F363}'.repeat(400_001), contentType: 'application/octet-stream' }),
  }),
  endpoint({ ...common, operationId: 'short', method: 'GET', path: '/short', auth: 'none', handler: async () => ({}) }),
];

const head = (method: string, path: string, token: string, more: string): string =>
  `${method} ${path} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer ${token}\r\n${more}\r\n`;

describe('bytes in flight', () => {
  let server: TestServer;
  let inFlight: BytesInFlight;
  const sockets: Socket[] = [];
  const start = async (limits: BytesInFlightLimits): Promise<void> => {
    inFlight = new BytesInFlight(limits, noMetrics);
    server = await new TestServer().start(
      ENDPOINTS,
      {},
      {
        bytesInFlight: inFlight,
        limits: { maxBodyBytes: 4 * MiB },
      },
    );
  };
  /** A connection on which something was written; what it answers is not read unless somebody listens. */
  const open = (text: string): Socket => {
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    sockets.push(socket);
    socket.write(text);
    return socket;
  };
  /** All that comes until the connection closes. */
  const heard = async (socket: Socket): Promise<string> => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    if (!socket.closed) await once(socket, 'close');
    return Buffer.concat(chunks).toString('latin1');
  };
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await until('everything is given back', () => inFlight.used === 0);
    await server.stop();
  });

  describe('of bodies', () => {
    it('are as many as have arrived and up to as many again, whatever was declared', async () => {
      await start(LIMITS);
      open(head('POST', '/user', 'alice', `Content-Length: ${4 * MiB}\r\n`) + 'x'.repeat(300_000));
      await until('it has arrived', () => inFlight.used >= 300_000);
      expect(inFlight.used).to.be.at.most(600_000);
    });
    it('are refused with 503 beyond the share of a user, who does not keep others from sending', async () => {
      await start({ total: 16 * MiB, user: 4 * MiB, address: 16 * MiB, connection: 4 * MiB });
      const unfinished = head('POST', '/user', 'alice', `Content-Length: ${2 * MiB}\r\n`) + 'x'.repeat(2 * MiB - 1);
      open(unfinished);
      open(unfinished);
      await until('two are held', () => inFlight.used === 4 * MiB);
      const refused = await heard(open(`${unfinished}xGET / HTTP/1.0\r\n\r\n`));
      expect(refused).to.match(/^HTTP\/1\.1 503[^]*Retry-After: \d+[^]*M_LIMIT_EXCEEDED/);
      expect(refused).to.contain('bytes_in_flight');
      expect(inFlight.used).to.equal(4 * MiB);
      expect((await server.ask('POST', '/user', { token: 'bob', body: { x: 'x'.repeat(MiB) } })).status).to.equal(200);
    });
    it('are held until the request is done, not only until they have arrived', async () => {
      await start(LIMITS);
      const { answer } = server.begin('POST', '/slow', { token: 'alice', body: { x: 'x'.repeat(MiB) } });
      await until('it has arrived', () => inFlight.used >= MiB);
      await server.ask('GET', '/short');
      expect(inFlight.used).to.be.at.least(MiB);
      gate.resolve();
      expect((await answer).status).to.equal(200);
    });
    it('weigh what becomes of them, too: a value of JSON is more than a comma', async () => {
      const ask = async (body: string, user: number): Promise<string> => {
        await start({ total: 64 * MiB, user, address: 64 * MiB, connection: 64 * MiB });
        const more = `Connection: close\r\nContent-Length: ${body.length}\r\n`;
        const answer = await heard(open(head('POST', '/user', 'alice', more) + body));
        await until('everything is given back', () => inFlight.used === 0);
        await server.stop();
        return answer.slice(0, 12);
      };
      for (const [count, share] of [
        [20_000, MiB],
        [1_000, 64 * 1024],
      ] as const) {
        const structure = `{"a":[${'[],'.repeat(count)}1]}`;
        const text = `{"a":"${'x'.repeat(structure.length)}"}`;
        expect(await ask(structure, share)).to.equal('HTTP/1.1 503');
        expect(await ask(text, share)).to.equal('HTTP/1.1 200');
        expect(await ask(structure, 2 * 48 * count + share)).to.equal('HTTP/1.1 200');
      }
      await start(LIMITS);
    });
    it('of strangers are few: 413 beyond 16 KiB', async () => {
      await start(LIMITS);
      expect((await server.ask('POST', '/stranger', { body: { x: 'x'.repeat(16_000) } })).status).to.equal(200);
      const refused = await server.ask('POST', '/stranger', { body: { x: 'x'.repeat(17_000) } });
      expect([refused.status, refused.json['errcode']]).to.deep.equal([413, 'M_TOO_LARGE']);
      expect((await server.ask('POST', '/user', { token: 'bob', body: { x: 'x'.repeat(17_000) } })).status).to.equal(
        200,
      );
    });
    it('do not come in chunks of one byte without end: the connection is closed', async () => {
      await start(LIMITS);
      const chunks = '1\r\nx\r\n'.repeat(4_000);
      const cut = await heard(open(head('POST', '/user', 'alice', 'Transfer-Encoding: chunked\r\n') + chunks));
      expect(cut).to.equal('');
      // Nor after the answer, where the request was refused before its body was looked at.
      const unread = open(`${head('POST', '/nowhere', 'alice', 'Transfer-Encoding: chunked\r\n')}1\r\nx\r\n`);
      const answered = heard(unread);
      await until('it is answered', () => unread.bytesRead > 0);
      unread.write(chunks);
      expect(await answered).to.match(/^HTTP\/1\.1 404 /);
      const streamed = `{"x":"${'y'.repeat(90_000)}"}`;
      const pieces = Array.from({ length: Math.ceil(streamed.length / 500) }, (_, i) =>
        streamed.slice(i * 500, i * 500 + 500),
      );
      const body = pieces.map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`).join('');
      const fine = await heard(
        open(
          `${head('POST', '/user', 'alice', 'Connection: close\r\nTransfer-Encoding: chunked\r\n')}${body}0\r\n\r\n`,
        ),
      );
      expect(fine).to.match(/^HTTP\/1\.1 200/);
    });
  });

  describe('of answers', () => {
    it('are counted until they are read, and refused with 503 beyond the share of a user', async () => {
      await start(LIMITS);
      const request = head('GET', '/long', 'alice', '');
      open(request);
      await until('one waits', () => inFlight.used === LONG.length);
      open(request);
      await until('two wait', () => inFlight.used === 2 * LONG.length);
      expect(await heard(open(head('GET', '/long', 'alice', 'Connection: close\r\n')))).to.match(/^HTTP\/1\.1 503/);
      expect((await server.ask('GET', '/long', { token: 'bob' })).bytes.length).to.equal(LONG.length);
      for (const socket of sockets) socket.destroy();
      await until('both are given back', () => inFlight.used === 0);
      expect((await server.ask('GET', '/long', { token: 'alice' })).status).to.equal(200);
    });
    it('that nobody reads are dropped with their connection when their time is over', async () => {
      const clock = new ManualClock();
      inFlight = new BytesInFlight(LIMITS, noMetrics);
      server = await new TestServer().start(
        ENDPOINTS,
        {},
        {
          bytesInFlight: inFlight,
          timers: clock,
          limits: { answerTimeoutMs: 30_000 },
        },
      );
      const socket = open(head('GET', '/long', 'alice', ''));
      await until('it waits', () => inFlight.used > 0);
      const allowed = 30_000 + (LONG.length / (16 * 1024)) * 1_000;
      await clock.advance(allowed - 1_000);
      expect(inFlight.used).to.equal(LONG.length);
      await clock.advance(2_000);
      await until('it is dropped', () => inFlight.used === 0);
      socket.resume();
      await once(socket, 'close');
      expect(socket.bytesRead).to.be.lessThan(LONG.length);
    });
    it('arrive as they are, of whatever characters they are made', async () => {
      await start(LIMITS);
      const answer = await server.ask('GET', '/text');
      expect(answer.text === '集\u{1F363}'.repeat(400_001)).to.equal(true);
      expect(Number(answer.headers['content-length'])).to.equal(answer.bytes.length);
    });
    it('to many requests at once on one connection do not pile up: it is closed', async () => {
      await start(LIMITS);
      const closed = heard(open(head('GET', '/long', 'alice', '').repeat(40)));
      await closed;
      expect(
        (await heard(open(`${head('GET', '/short', 'alice', '').repeat(10)}GET / HTTP/1.0\r\n\r\n`))).split(
          'HTTP/1.1 200',
        ),
      ).to.have.length(11);
    });
  });
});
