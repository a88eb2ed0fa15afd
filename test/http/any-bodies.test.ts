import { createHook } from 'node:async_hooks';
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { PassThrough, Readable } from 'node:stream';
import { json as jsonOf } from 'node:stream/consumers';
import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { Type } from 'typebox';
import { endpoint, FormBody, RawBody, Reply, StreamBody } from '#src/http/endpoint.ts';
import type { SignedBody, UnverifiedRequest } from '#src/http/middleware/authentication.ts';
import { BytesInFlight } from '#src/kernel/limits/bytes-in-flight.ts';
import { Turns } from '#src/kernel/event-loop/turns.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { TokenBucketLimiter } from '#src/kernel/limits/rate-limiter.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { LARGE_JSON } from '#src/protocol/json/parse-in-pieces.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { until } from '#test/support/until.ts';
import { type Answer, TestServer } from './serve.ts';

const common = {
  summary: '',
  auth: 'none',
  rateLimit: 'none',
  response: Type.Object({}),
  errcodes: [],
} as const;
const BYTES = randomBytes(3_000_000);

/** What a handler has done with the stream that it was given. */
interface Consumed {
  bytes: number;
  error: unknown;
}

/** Sources that were handed out as replies. */
interface Sources {
  readonly open: Readable[];
  readonly consumed: Consumed[];
  /** Before it nobody reads what comes for `/late`. */
  gate?: PromiseWithResolvers<void>;
}

const slices = (bytes: Buffer, size: number): Buffer[] =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  );

let pulled = 0;
const counted = function* (): Generator<Buffer> {
  for (pulled = 0; ; pulled += 1) yield Buffer.alloc(50_000);
};

/** What a test writes to `/download/slow`. */
let slow = new PassThrough();

const failingAfter = (chunks: number): Readable =>
  Readable.from(
    (async function* () {
      for (let sent = 0; sent < chunks; sent += 1) yield Buffer.alloc(200_000);
      throw new MatrixError('M_NOT_FOUND', 'It is gone.');
    })(),
  );

const ENDPOINTS = [
  endpoint({
    ...common,
    operationId: 'form',
    method: 'POST',
    path: '/form',
    body: new FormBody(Type.Object({ grant: Type.String(), times: Type.Optional(Type.Integer()) })),
    handler: async (_, { body }) => body,
  }),
  endpoint({
    ...common,
    operationId: 'raw',
    method: 'POST',
    path: '/raw',
    body: new RawBody(1_000),
    handler: async (_, { body, info }) => ({
      base64: body.toString('base64'),
      type: info.contentType,
    }),
  }),
  endpoint({
    ...common,
    operationId: 'upload',
    method: 'POST',
    path: '/upload',
    body: new StreamBody('upload'),
    async handler({ consumed }: Sources, { body, info }) {
      const record: Consumed = { bytes: 0, error: undefined };
      consumed.push(record);
      try {
        for await (const chunk of body) record.bytes += (chunk as Buffer).length;
      } catch (error) {
        record.error = error;
        throw error;
      }
      return { bytes: record.bytes, type: info.contentType };
    },
  }),
  endpoint({
    ...common,
    operationId: 'late',
    method: 'POST',
    path: '/late',
    body: new StreamBody('upload'),
    async handler({ consumed, gate }: Sources, { body }) {
      const record: Consumed = { bytes: 0, error: undefined };
      consumed.push(record);
      await gate?.promise;
      try {
        for await (const chunk of body) record.bytes += (chunk as Buffer).length;
      } catch (error) {
        record.error = error;
        throw error;
      }
      return {};
    },
  }),
  endpoint({
    ...common,
    operationId: 'unwanted',
    method: 'POST',
    path: '/unwanted',
    body: new StreamBody('upload'),
    handler: async () => {
      throw new MatrixError('M_FORBIDDEN', 'Not from you.');
    },
  }),
  endpoint({
    ...common,
    operationId: 'download',
    method: 'GET',
    path: '/download/{kind}',
    params: Type.Object({ kind: Type.String() }),
    async handler({ open }: Sources, { params: { kind } }) {
      const sources: Record<string, () => Readable> = {
        known: () => Readable.from(slices(BYTES, 50_000)),
        unknown: () => Readable.from(slices(BYTES, 50_000)),
        empty: () => Readable.from([]),
        endless: () => Readable.from(counted()),
        absent: () => failingAfter(0),
        torn: () => failingAfter(30),
        json: () => Readable.from(['{}']),
        absentjson: () => failingAfter(0),
        slow: () => slow,
      };
      const stream = (sources[kind] as () => Readable)();
      open.push(stream);
      return new Reply({
        stream,
        ...(kind === 'known' ? { length: BYTES.length } : {}),
        contentType: kind.endsWith('json') ? 'application/json' : 'image/png',
        headers: { 'Content-Disposition': 'inline', 'Cache-Control': 'public, max-age=60' },
      });
    },
  }),
];

describe('bodies and replies that are no JSON', () => {
  const services: Sources = { open: [], consumed: [] };
  const server = new TestServer();
  const clock = new ManualClock();
  const MiB = 1024 * 1024;
  const inFlight = new BytesInFlight({ total: 2 * MiB, user: MiB, address: MiB, connection: MiB }, noMetrics);
  before(() =>
    server.start(ENDPOINTS, services, {
      limits: { maxUploadBytes: 2_000_000, compressFromBytes: 100 },
      bytesInFlight: inFlight,
      timers: clock,
    }),
  );
  after(() => server.stop());

  const refused = ({ status, json }: Answer, expected: number, errcode: string): void => {
    expect([status, json['errcode']]).to.deep.equal([expected, errcode]);
    expect(json['error']).to.be.a('string').and.not.equal('');
  };

  describe('a form', () => {
    it('is converted and checked like a query', async () => {
      const { json } = await server.ask('POST', '/form', { raw: 'grant=a+b%2Bc&times=3&more=x' });
      expect(json).to.deep.equal({ grant: 'a b+c', times: 3 });
    });
    it('is refused where a member is missing, has the wrong type, or holds what no text may', async () => {
      refused(await server.ask('POST', '/form', { raw: 'times=3' }), 400, 'M_MISSING_PARAM');
      refused(await server.ask('POST', '/form', { raw: 'grant=x&times=often' }), 400, 'M_INVALID_PARAM');
      refused(await server.ask('POST', '/form', { raw: 'grant=a%00b' }), 400, 'M_INVALID_PARAM');
      refused(await server.ask('POST', '/form', { raw: Buffer.from([0x67, 0x3d, 0xff]) }), 400, 'M_NOT_JSON');
    });
  });

  describe('a raw body', () => {
    it('reaches the handler byte for byte, with its type', async () => {
      const bytes = randomBytes(1_000);
      const { json } = await server.ask('POST', '/raw', {
        raw: bytes,
        headers: { 'content-type': 'image/webp' },
      });
      expect(json).to.deep.equal({ base64: bytes.toString('base64'), type: 'image/webp' });
    });
    it('is refused beyond the limit that the endpoint declares', async () => {
      refused(await server.ask('POST', '/raw', { raw: randomBytes(1_001) }), 413, 'M_TOO_LARGE');
    });
  });

  describe('a body that is streamed', () => {
    it('arrives whole, whether it says how long it is or not', async () => {
      const bytes = BYTES.subarray(0, 2_000_000);
      const declared = await server.ask('POST', '/upload', {
        raw: bytes,
        headers: { 'content-type': 'video/mp4' },
      });
      expect(declared.json).to.deep.equal({ bytes: 2_000_000, type: 'video/mp4' });
      const { request, response } = server.open('POST', '/upload', {
        'transfer-encoding': 'chunked',
      });
      for (const slice of slices(bytes, 70_000)) request.write(slice);
      request.end();
      expect(await jsonOf(await response)).to.deep.equal({ bytes: 2_000_000 });
    });
    it('is refused before it begins where it says that it is longer than it may be', async () => {
      const before = services.consumed.length;
      refused(await server.ask('POST', '/upload', { raw: BYTES }), 413, 'M_TOO_LARGE');
      expect(services.consumed.length).to.equal(before);
    });
    it('fails with M_TOO_LARGE where it turns out longer than it may be', async () => {
      const { request, response } = server.open('POST', '/upload', {
        'transfer-encoding': 'chunked',
      });
      for (const slice of slices(BYTES, 70_000)) request.write(slice);
      request.end();
      const answer = await response;
      expect(answer.statusCode).to.equal(413);
      expect(await jsonOf(answer)).to.include({ errcode: 'M_TOO_LARGE' });
      expect(services.consumed.at(-1)?.bytes).to.be.at.most(2_000_000);
    });
    it('fails when the client goes away in the middle of it', async () => {
      const { request, response } = server.open('POST', '/upload', {
        'transfer-encoding': 'chunked',
      });
      response.catch(() => {});
      const before = services.consumed.length;
      request.write(Buffer.alloc(100_000));
      await until('the stream is done with', () => (services.consumed.at(before)?.bytes ?? 0) > 0);
      request.destroy();
      await until('the stream is done with', () => services.consumed.at(-1)?.error !== undefined);
      expect(server.lines.filter(({ level }) => level === 'error')).to.deep.equal([]);
    });
    it('fails where the client goes away before anybody reads it, and brings nothing down', async () => {
      services.gate = Promise.withResolvers();
      const { request, response } = server.open('POST', '/late', { 'content-length': '50000' });
      response.catch(() => {});
      const before = services.consumed.length;
      request.write(Buffer.alloc(100));
      await until('the handler runs', () => services.consumed.length > before);
      request.destroy();
      await until('the server knows that the client is gone', () => inFlight.used === 0);
      services.gate.resolve();
      await until('whoever reads learns of it', () => services.consumed.at(-1)?.error !== undefined);
      expect((await server.ask('POST', '/upload', { raw: 'x' })).status).to.equal(200);
    });
    it('counts as bytes in flight while it comes, whatever length it says it has', async () => {
      const { request, response } = server.open('POST', '/upload', {
        'transfer-encoding': 'chunked',
      });
      response.catch(() => {});
      request.write('x');
      await until('it is counted', () => inFlight.used > 0);
      services.gate = Promise.withResolvers();
      const most = Array.from({ length: 4 }, () => server.ask('POST', '/late', { raw: 'x' }));
      expect((await Promise.race(most)).status).to.equal(503);
      services.gate.resolve();
      const statuses = (await Promise.all(most)).map(({ status }) => status);
      expect(statuses.toSorted()).to.deep.equal([200, 200, 200, 503]);
      request.destroy();
      await until('nothing is left', () => inFlight.used === 0);
    });
    it('may take its time as long as 16 KiB a second come, and fails with 408 where they do not', async () => {
      const { request, response } = server.open('POST', '/upload', { 'content-length': '1900000' });
      const before = services.consumed.length;
      const send = async (bytes: number): Promise<void> => {
        const had = services.consumed.at(before)?.bytes ?? 0;
        request.write(Buffer.alloc(bytes));
        await until('it has come', () => services.consumed.at(before)?.bytes === had + bytes);
      };
      await send(600_000);
      await clock.advance(60_000);
      await send(600_000);
      await clock.advance(30_000);
      expect(services.consumed.at(before)?.error).to.equal(undefined);
      await send(10_000);
      await clock.advance(60_000);
      const answer = await response;
      expect(answer.statusCode).to.equal(408);
      request.destroy();
    });
    it('that nobody reads does not keep the client from its answer', async () => {
      refused(await server.ask('POST', '/unwanted', { raw: BYTES.subarray(0, 1_900_000) }), 403, 'M_FORBIDDEN');
    });
  });

  describe('a reply that is a stream', () => {
    it('is cut off where its reader takes less than 16 KiB a second, and counts as bytes in flight until then', async () => {
      const socket = connect(server.port, '127.0.0.1');
      socket.pause();
      socket.write('GET /download/endless HTTP/1.1\r\nHost: t\r\n\r\n');
      const before = services.open.length;
      await until('it begins', () => services.open.length > before && inFlight.used > 0);
      const source = services.open.at(-1);
      await until('nobody takes more of it', async () => {
        const had = pulled;
        for (let turn = 0; turn < 200; turn++) await setImmediate();
        return pulled === had;
      });
      let waited = 0;
      while (source?.destroyed === false && waited < 100) {
        await clock.advance(60_000);
        waited += 1;
      }
      expect(source?.destroyed).to.equal(true);
      expect(waited).to.be.above(0);
      await until('nothing is left', () => inFlight.used === 0);
      socket.destroy();
    });
    it('is not cut off where its client has taken all that there was, however slowly it is made', async () => {
      slow = new PassThrough();
      const { request, response } = server.open('GET', '/download/slow');
      request.end();
      slow.write('a');
      const incoming = await response;
      const chunks = incoming[Symbol.asyncIterator]();
      for (const next of ['b', 'c']) {
        expect(String((await chunks.next()).value)).to.equal(next === 'b' ? 'a' : 'b');
        for (let minute = 0; minute < 5; minute += 1) await clock.advance(60_000);
        slow.write(next);
      }
      slow.end();
      expect(String((await chunks.next()).value)).to.equal('c');
      expect((await chunks.next()).done).to.equal(true);
    });
    it('has a compressor only where something of it is sent', async () => {
      const roomy = await new TestServer().start(ENDPOINTS, services);
      let made = 0;
      const hook = createHook({
        init: (_, type) => {
          if (/^Z(LIB|STD)/i.test(type)) made += 1;
        },
      }).enable();
      try {
        for (const encoding of ['gzip', 'zstd']) {
          const headers = { 'accept-encoding': encoding };
          made = 0;
          expect((await roomy.ask('HEAD', '/download/json', { headers })).status).to.equal(200);
          expect((await roomy.ask('GET', '/download/absentjson', { headers })).status).to.equal(404);
          expect(made).to.equal(0);
          expect((await roomy.ask('GET', '/download/json', { headers })).headers['content-encoding']).to.equal(
            encoding,
          );
          expect(made).to.equal(1);
        }
      } finally {
        hook.disable();
        await roomy.stop();
      }
    });
    it('has its length where that is known, and the type and headers that it was given', async () => {
      const { status, headers, bytes } = await server.ask('GET', '/download/known');
      expect(status).to.equal(200);
      expect(headers).to.include({
        'content-length': String(BYTES.length),
        'content-type': 'image/png',
        'content-disposition': 'inline',
        'cache-control': 'public, max-age=60',
        'x-content-type-options': 'nosniff',
      });
      expect(bytes.equals(BYTES)).to.equal(true);
    });
    it('goes out in chunks where its length is not known, also when it is empty', async () => {
      const { headers, bytes } = await server.ask('GET', '/download/unknown');
      expect(headers['content-length']).to.equal(undefined);
      expect(bytes.equals(BYTES)).to.equal(true);
      const empty = await server.ask('GET', '/download/empty');
      expect([empty.status, empty.bytes.length]).to.deep.equal([200, 0]);
    });
    it('is opened and closed again for HEAD, which has its headers and no body', async () => {
      const { headers, bytes } = await server.ask('HEAD', '/download/known');
      expect([headers['content-length'], headers['content-type'], bytes.length]).to.deep.equal([
        String(BYTES.length),
        'image/png',
        0,
      ]);
      await until('the stream is done with', () => services.open.at(-1)?.destroyed === true);
    });
    it('that fails before its first byte is answered like any failure', async () => {
      refused(await server.ask('GET', '/download/absent'), 404, 'M_NOT_FOUND');
    });
    it('that fails later breaks the connection off, so that the client knows that something is missing', async () => {
      const error = await server.ask('GET', '/download/torn').then(
        () => undefined,
        (reason: Error) => reason,
      );
      expect(error?.message).to.match(/aborted|hang up|reset/);
    });
    it('is read no faster than the client takes it, and destroyed when the client goes away', async () => {
      const { request, response } = server.open('GET', '/download/endless');
      request.end();
      const incoming = await response;
      const first = (await incoming[Symbol.asyncIterator]().next()) as { value: Buffer };
      expect(first.value.length).to.be.greaterThan(0);
      const source = services.open.at(-1) as Readable;
      expect(source.destroyed).to.equal(false);
      expect(pulled, 'pieces of 50 kB that wait for the client').to.be.lessThan(1_000);
      request.destroy();
      await until('the stream is done with', () => source.destroyed);
      await server.line(({ fields }) => fields['operation'] === 'server.download' && fields['status'] === 499);
    });
  });
});

describe('endpoints that other servers and application services call', () => {
  const asked: (UnverifiedRequest & SignedBody)[] = [];
  const server = new TestServer();
  const signed = { ...common, auth: 'server' } as const;
  before(() =>
    server.start(
      [
        endpoint({
          ...signed,
          operationId: 'put',
          method: 'PUT',
          path: '/_matrix/federation/v1/send/{txnId}',
          params: Type.Object({ txnId: Type.String() }),
          body: Type.Object({ pdus: Type.Array(Type.Unknown()) }),
          handler: async (_, { requester, params, body }) => ({
            ...requester,
            ...params,
            pdus: body.pdus.length,
          }),
        }),
        endpoint({
          ...signed,
          operationId: 'get',
          method: 'GET',
          path: '/_matrix/federation/v1/event/{eventId}',
          handler: async (_, { requester }) => requester,
        }),
        endpoint({
          ...common,
          auth: 'appservice',
          operationId: 'ping',
          method: 'POST',
          path: '/_matrix/client/v1/appservice/{id}/ping',
          body: Type.Object({ transaction_id: Type.Optional(Type.String()) }),
          bodyOptional: true,
          handler: async (_, { requester }) => requester,
        }),
      ],
      {},
      {
        async authenticateServer(request) {
          asked.push({ ...request, ...(await request.body(false)) });
          if (request.headers['authorization'] === undefined)
            throw new MatrixError('M_UNAUTHORIZED', 'There is no signature.');
          return { serverName: 'other.test' };
        },
        async authenticateAppservice(request) {
          asked.push({ ...request, ...(await request.body(false)) });
          return { id: 'irc' };
        },
      },
    ),
  );
  after(() => server.stop());
  beforeEach(() => (asked.length = 0));
  const headers = { authorization: 'X-Matrix origin="other.test"' };

  it('show the authentication the method, the target as it was sent, headers, bytes and JSON', async () => {
    const target = '/_matrix/federation/v1/send/a%2Fb?x=%20';
    const { json } = await server.ask('PUT', target, { headers, raw: '{ "pdus": [1] }' });
    expect(json).to.deep.equal({ serverName: 'other.test', txnId: 'a/b', pdus: 1 });
    const [request] = asked as [UnverifiedRequest & SignedBody];
    expect([request.method, request.target, request.bytes.toString(), request.json]).to.deep.equal([
      'PUT',
      target,
      '{ "pdus": [1] }',
      { pdus: [1] },
    ]);
    expect(request.headers['authorization']).to.equal(headers.authorization);
  });
  it('show it bodies that the endpoint does not declare, since they are signed as well', async () => {
    await server.ask('GET', '/_matrix/federation/v1/event/$x', { headers, raw: '{"a":1}' });
    await server.ask('GET', '/_matrix/federation/v1/event/$x', { headers });
    expect(asked.map(({ json }) => json)).to.deep.equal([{ a: 1 }, undefined]);
  });
  it('are refused by it before the body is checked', async () => {
    const { status, json } = await server.ask('PUT', '/_matrix/federation/v1/send/1', {
      raw: '{}',
    });
    expect([status, json['errcode']]).to.deep.equal([401, 'M_UNAUTHORIZED']);
  });
  it('are logged with the server that called', async () => {
    await server.ask('GET', '/_matrix/federation/v1/event/$x', { headers });
    await server.line(({ fields }) => fields['server'] === 'other.test' && fields['operation'] === 'server-server.get');
  });
  it('are not parsed before their sender is proved where they are large, and in several turns of the event loop then', async () => {
    const pdus = Array.from({ length: 50 }, (_, n) => `event ${n} ${'x'.repeat(6_000)}`);
    let turns = 0;
    const hook = createHook({ init: (_id, type) => void (turns += type === 'Immediate' ? 1 : 0) }).enable();
    const { json } = await server.ask('PUT', '/_matrix/federation/v1/send/1', { headers, body: { pdus } });
    hook.disable();
    expect(json['pdus']).to.equal(50);
    expect(asked.map(({ json: shown, bytes }) => [shown, bytes.length > LARGE_JSON])).to.deep.equal([
      [undefined, true],
    ]);
    expect(turns).to.be.greaterThan(5);
    for (const raw of [
      `{"pdus":[${'"xxxxxx",'.repeat(40_000)}}`,
      `["${'x'.repeat(300_000)}`,
      `"${'x'.repeat(300_000)}"`,
    ]) {
      const refused = await server.ask('PUT', '/_matrix/federation/v1/send/1', { headers, raw });
      expect([refused.status, String(refused.json['errcode']).slice(0, 5)]).to.deep.equal([
        400,
        raw.startsWith('"') ? 'M_BAD' : 'M_NOT',
      ]);
    }
  });
  it('tell the handler which application service calls', async () => {
    const { json } = await server.ask('POST', '/_matrix/client/v1/appservice/irc/ping', {});
    expect(json).to.deep.equal({ id: 'irc' });
  });
});

describe('large bodies in the name of a server that is not proved', () => {
  const server = new TestServer();
  const received: number[] = [];
  const parties: string[] = [];
  const turns = new Turns({ clock: new ManualClock(), metrics: noMetrics });
  const enter = turns.enter.bind(turns);
  turns.enter = (place, onFull) => {
    parties.push(place.party);
    return enter(place, onFull);
  };
  const limiter = new TokenBucketLimiter(new ManualClock(), {
    enabled: true,
    buckets: { unproved_bytes: { perSecond: 1, burst: 500_000 }, refused: { perSecond: 1, burst: 1_000 } },
  });
  before(() =>
    server.start(
      [
        endpoint({
          ...common,
          auth: 'server',
          operationId: 'put',
          method: 'PUT',
          path: '/_matrix/federation/v1/send/{txnId}',
          params: Type.Object({ txnId: Type.String() }),
          body: Type.Object({}),
          handler: async () => ({}),
        }),
      ],
      {},
      {
        rateLimiter: limiter,
        turns,
        async authenticateServer({ body, headers }) {
          const { bytes } = await body(headers['x-test'] === 'familiar');
          received.push(bytes.length);
          if (headers['x-test'] === 'forged') throw new MatrixError('M_UNAUTHORIZED', 'This is not signed.');
          return { serverName: 'other.test' };
        },
      },
    ),
  );
  after(() => server.stop());

  /** The status of a request with so many bytes, and whether its body was read. */
  const sent = async (who: 'forged' | 'new' | 'familiar', bytes: number): Promise<readonly [number, boolean]> => {
    received.length = 0;
    const body = { a: 'x'.repeat(bytes - 8) };
    const { status } = await server.ask('PUT', '/_matrix/federation/v1/send/1', { headers: { 'x-test': who }, body });
    return [status, received.length > 0];
  };

  it('wait for each other, whoever sends them, and not for their turn as a network that has asked for little', async () => {
    parties.length = 0;
    await sent('familiar', 400_000);
    await sent('new', 60_000);
    expect(parties).not.to.include('unproved');
    await sent('new', 300_000);
    expect(parties).to.include('unproved');
  });
  it('are limited for each network, without being read, until one is proved; small ones are not', async () => {
    expect(await sent('new', 400_000)).to.deep.equal([200, true]);
    expect(await sent('forged', 400_000)).to.deep.equal([401, true]);
    expect(await sent('forged', 400_000)).to.deep.equal([429, false]);
    expect(await sent('new', 400_000)).to.deep.equal([429, false]);
    expect(await sent('new', 60_000)).to.deep.equal([200, true]);
    expect(await sent('familiar', 400_000)).to.deep.equal([200, true]);
  });
  it('count as the largest that there may be where they do not say how large they are', async () => {
    const { request, response } = server.open('PUT', '/_matrix/federation/v1/send/1', {
      'x-test': 'forged',
      'transfer-encoding': 'chunked',
    });
    request.end('{}');
    expect((await response).statusCode).to.equal(429);
  });
});
