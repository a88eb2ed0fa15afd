import { randomBytes } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { expect } from 'chai';
import { Type } from 'typebox';
import { type Endpoint, endpoint, Reply } from '#src/http/endpoint.ts';
import { type BodyReading, readBody } from '#src/http/middleware/body.ts';
import { ClientGone } from '#src/kernel/event-loop/client-gone.ts';
import { TestServer } from './serve.ts';

const common = { summary: '', auth: 'none', rateLimit: 'none', response: Type.Object({}), errcodes: [] } as const;
const BIG = JSON.stringify({ text: '集い'.repeat(20_000) });

const ENDPOINTS: Endpoint<unknown>[] = [
  endpoint({
    ...common,
    operationId: 'echo',
    method: 'POST',
    path: '/_matrix/client/v3/echo',
    body: Type.Object({
      name: Type.String(),
      count: Type.Optional(Type.Integer()),
      inner: Type.Optional(Type.Object({ needed: Type.String(), spare: Type.Optional(Type.String()) })),
      kind: Type.Optional(Type.Union([Type.Literal('a'), Type.Literal('b')])),
      list: Type.Optional(Type.Array(Type.String())),
    }),
    handler: async (_, { body }) => body,
  }),
  endpoint({
    ...common,
    operationId: 'optional',
    method: 'POST',
    path: '/_matrix/client/v3/optional',
    body: Type.Object({ reason: Type.Optional(Type.String()) }),
    bodyOptional: true,
    handler: async (_, { body }) => ({ received: body }),
  }),
  endpoint({
    ...common,
    operationId: 'event',
    method: 'PUT',
    path: '/_matrix/client/v3/event',
    body: Type.Record(Type.String(), Type.Unknown()),
    eventBody: 'one',
    handler: async (_, { body }) => body,
  }),
  endpoint({
    ...common,
    operationId: 'wide',
    method: 'PUT',
    path: '/_matrix/client/v3/wide',
    body: Type.Record(Type.String(), Type.Unknown()),
    maxBodyBytes: 2_000_000,
    handler: async (_, { body }) => ({ members: Object.keys(body).length }),
  }),
  endpoint({
    ...common,
    operationId: 'none',
    method: 'POST',
    path: '/_matrix/client/v3/none',
    handler: async () => ({ ok: true }),
  }),
  endpoint({
    ...common,
    operationId: 'sync',
    method: 'GET',
    path: '/_matrix/client/v3/sync',
    handler: async () => new Reply({ json: Buffer.from(BIG) }),
  }),
];

const echo = '/_matrix/client/v3/echo';
const event = '/_matrix/client/v3/event';

describe('bodies', () => {
  const server = new TestServer();
  before(() => server.start(ENDPOINTS, {}, { limits: { bodyTimeoutMs: 150, maxStrangerBodyBytes: 1024 * 1024 } }));
  after(() => server.stop());

  const refused = async (
    method: string,
    path: string,
    raw: string | Buffer,
    status: number,
    errcode: string,
    name = '',
  ): Promise<void> => {
    const answer = await server.ask(method, path, { raw });
    const shown = String(raw).slice(0, 60);
    expect(answer.status, shown).to.equal(status);
    expect(answer.json['errcode'], shown).to.equal(errcode);
    expect(answer.json['error'], shown).to.contain(name);
  };

  it('answers 400 M_NOT_JSON for what is not JSON or not UTF-8, and for no body at all', async () => {
    for (const raw of [
      '',
      '{',
      'hello',
      '{"name":NaN}',
      "{'name':1}",
      Buffer.from([0x22, 0xff, 0x22]),
      Buffer.from('{"name":"\xe9"}', 'latin1'),
    ]) {
      await refused('POST', echo, raw, 400, 'M_NOT_JSON');
    }
  });
  it('answers 400 M_BAD_JSON for JSON that is not an object', async () => {
    for (const raw of ['"text"', '[]', '1', 'null', 'true']) await refused('POST', echo, raw, 400, 'M_BAD_JSON');
  });
  it('answers 400 M_MISSING_PARAM for a missing member and M_BAD_JSON for a wrong one, and names it', async () => {
    await refused('POST', echo, '{}', 400, 'M_MISSING_PARAM', 'name');
    await refused('POST', echo, '{"name":1}', 400, 'M_BAD_JSON', 'name');
    await refused('POST', echo, '{"name":null}', 400, 'M_BAD_JSON', 'name');
    await refused('POST', echo, '{"name":"n","count":"1"}', 400, 'M_BAD_JSON', 'count');
    await refused('POST', echo, '{"name":"n","inner":{}}', 400, 'M_BAD_JSON', 'inner.needed');
    await refused('POST', echo, '{"name":"n","kind":"c"}', 400, 'M_BAD_JSON', 'kind');
    await refused('POST', echo, '{"name":"n","list":["a",2]}', 400, 'M_BAD_JSON', 'list[1]');
  });
  it('keeps members that it does not know, and never converts', async () => {
    const body = { name: '1', 'org.example.more': { deep: [1.5, null] } };
    expect((await server.ask('POST', echo, { body })).json).to.deep.equal(body);
  });
  it('takes null for an optional member as if it were absent, also inside, and for no other', async () => {
    const answer = await server.ask('POST', echo, {
      body: { name: 'n', count: null, list: null, inner: { needed: 'i', spare: null }, 'org.example.more': null },
    });
    expect(answer.json).to.deep.equal({ name: 'n', inner: { needed: 'i' }, 'org.example.more': null });
    expect((await server.ask('POST', '/_matrix/client/v3/optional', { body: { reason: null } })).json).to.deep.equal({
      received: {},
    });
    await refused('POST', echo, '{"name":null,"count":null}', 400, 'M_BAD_JSON', 'name');
    await refused('POST', echo, '{"name":"n","inner":{"needed":null}}', 400, 'M_BAD_JSON', 'inner.needed');
    expect((await server.ask('PUT', event, { body: { body: null } })).json).to.deep.equal({ body: null });
  });
  it('does not mind the Content-Type, and reads chunked bodies', async () => {
    const answer = await server.ask('POST', echo, { body: { name: 'n' }, headers: { 'content-type': 'text/plain' } });
    expect(answer.status).to.equal(200);
    const chunked =
      'Host: t\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\n{"nam\r\n7\r\ne":"n"}\r\n0\r\n\r\n';
    expect(await server.speak(`POST ${echo} HTTP/1.1\r\n${chunked}`)).to.match(/^HTTP\/1\.1 200[^]*\{"name":"n"\}/);
  });
  it('takes no body for {} where the body is optional, and ignores bodies where none is declared', async () => {
    expect((await server.ask('POST', '/_matrix/client/v3/optional')).json).to.deep.equal({ received: {} });
    expect((await server.ask('POST', '/_matrix/client/v3/optional', { body: { reason: 'r' } })).json).to.deep.equal({
      received: { reason: 'r' },
    });
    await refused('POST', '/_matrix/client/v3/optional', 'x', 400, 'M_NOT_JSON');
    expect((await server.ask('POST', '/_matrix/client/v3/none', { raw: 'not json' })).status).to.equal(200);
  });

  it('refuses numbers that an event cannot hold with 400 M_BAD_JSON, in events only', async () => {
    for (const number of ['1.1', '1.0', '1e3', '-2E2', '9007199254740992', '-9007199254740992', '1e400']) {
      await refused('PUT', event, `{"a":{"b":[0, ${number}]}}`, 400, 'M_BAD_JSON', 'integers');
    }
    await refused('PUT', event, String.raw`{"a":"\ud800"}`, 400, 'M_BAD_JSON', 'surrogate');
    await refused('PUT', event, String.raw`{"\udc00":1}`, 400, 'M_BAD_JSON', 'surrogate');
    const fine = { number: 9007199254740991, low: -9007199254740991, text: 'it was: 1.5, [2e3', pair: '\u{1F363}' };
    expect((await server.ask('PUT', event, { body: fine })).json).to.deep.equal(fine);
    expect((await server.ask('POST', echo, { raw: '{"name":"n","x":1.5}' })).status).to.equal(200);
  });
  it('answers 413 M_TOO_LARGE for an event over 64 KiB, counted as it is stored', async () => {
    await refused('PUT', event, JSON.stringify({ body: 'x'.repeat(65_536) }), 413, 'M_TOO_LARGE');
    const escaped = `{"body":"${String.raw`\u96c6`.repeat(15_000)}"}`;
    expect(escaped.length).to.be.greaterThan(65_536);
    expect((await server.ask('PUT', event, { raw: escaped })).status).to.equal(200);
  });
  it('answers 413 M_TOO_LARGE for a body over the limit, declared or chunked, and serves on afterwards', async () => {
    const large = JSON.stringify({ name: 'x'.repeat(1024 * 1024) });
    await refused('POST', echo, large, 413, 'M_TOO_LARGE');
    const response = await fetch(`http://127.0.0.1:${server.port}${echo}`, {
      method: 'POST',
      body: new Blob([large]).stream(),
      duplex: 'half',
    } as RequestInit);
    expect(response.status).to.equal(413);
    expect(((await response.json()) as { errcode: string }).errcode).to.equal('M_TOO_LARGE');
    expect((await server.ask('PUT', '/_matrix/client/v3/wide', { raw: large })).status).to.equal(200);
  });
  it('refuses a body that is declared far too large without reading it', async () => {
    const received = await server.speak(`POST ${echo} HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999999\r\n\r\n{`);
    expect(received).to.match(/^HTTP\/1\.1 413/);
  });
  it('answers 408 when a body does not arrive in time', async () => {
    const received = await server.speak(`POST ${echo} HTTP/1.1\r\nHost: t\r\nContent-Length: 50\r\n\r\n{"name"`);
    expect(received).to.match(/^HTTP\/1\.1 408/);
  });
  it('refuses JSON nested too deeply with 400 M_BAD_JSON', async () => {
    await refused(
      'POST',
      echo,
      `{"name":"n","x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
      400,
      'M_BAD_JSON',
      'nested',
    );
  });
  it('treats __proto__ as a member like any other', async () => {
    const answer = await server.ask('PUT', event, { raw: '{"__proto__":{"polluted":1}}' });
    expect(answer.text).to.equal('{"__proto__":{"polluted":1}}');
    expect(({} as Record<string, unknown>)['polluted']).to.equal(undefined);
  });
  it('survives a client that goes away in the middle of its body', async () => {
    server.lines.length = 0;
    const socket = connect(server.port, '127.0.0.1');
    const begun = new Promise<void>((resolve) => {
      const onBegin = (): void => {
        unsubscribe('http.server.request.start', onBegin);
        resolve();
      };
      subscribe('http.server.request.start', onBegin);
    });
    socket.write(`POST ${echo} HTTP/1.1\r\nHost: t\r\nContent-Length: 50\r\n\r\n{"name"`);
    await begun;
    socket.resetAndDestroy();
    expect((await server.line(({ message }) => message === 'request')).fields['status']).to.equal(499);
    expect((await server.ask('POST', echo, { body: { name: 'n' } })).status).to.equal(200);
    expect(server.lines.filter(({ level }) => level === 'error')).to.deep.equal([]);
  });
  it('does not wait for the body of a client that went away before it was looked at', async () => {
    const reading = { limit: 100, timeoutMs: 1, deadlines: { in: () => ({ cancel: () => {} }) } };
    const read = Promise.withResolvers<unknown>();
    const listener = createServer((request) => {
      request.once('close', () => {
        readBody(request, reading as unknown as BodyReading).then(read.resolve, read.resolve);
      });
      socket.resetAndDestroy();
    });
    await new Promise<void>((resolve) => {
      listener.listen(0, '127.0.0.1', resolve);
    });
    const socket = connect((listener.address() as AddressInfo).port, '127.0.0.1');
    socket.write(`POST ${echo} HTTP/1.1\r\nHost: t\r\nContent-Length: 50\r\n\r\n{"name"`);
    try {
      expect(await read.promise).to.be.instanceOf(ClientGone);
    } finally {
      listener.close();
    }
  });
  it('keeps of a body that comes in pieces nothing but the whole, also when it is refused', async () => {
    const pieces: Buffer[] = [];
    const held = { hold: () => true, release: () => {} };
    const reading = { timeoutMs: 1, deadlines: { in: () => ({ cancel: () => {} }) }, held };
    const results: unknown[] = [];
    const listener = createServer((request, response) => {
      request.on('data', (piece: Buffer) => pieces.push(piece));
      const limit = Number(request.headers['x-limit']);
      void readBody(request, { ...reading, limit } as unknown as BodyReading)
        .then(
          (body) => results.push(body),
          (error: unknown) => results.push(error),
        )
        .then(() => response.end());
    });
    await new Promise<void>((resolve) => {
      listener.listen(0, '127.0.0.1', resolve);
    });
    const body = randomBytes(3_000_000);
    const send = (limit: number): Promise<Response> =>
      fetch(`http://127.0.0.1:${(listener.address() as AddressInfo).port}/`, {
        method: 'POST',
        headers: { 'x-limit': `${limit}` },
        body,
      });
    try {
      await send(5_000_000);
      expect(body.equals(results[0] as Buffer)).to.equal(true);
      await send(1_000_000);
      expect(results[1]).to.have.property('errcode', 'M_TOO_LARGE');
    } finally {
      listener.close();
      listener.closeAllConnections();
    }
    expect(pieces.length).to.be.greaterThan(20);
    const kept = pieces.reduce((sum, piece) => sum + piece.length, 0);
    // Pieces of less than 4 KiB are left to the garbage collector, and so is the one with which it becomes too large.
    expect(kept).to.be.lessThan(64 * 1024 + pieces.length * 4 * 1024);
  });

  describe('compression', () => {
    const sync = '/_matrix/client/v3/sync';
    it('compresses large bodies with what the client accepts', async () => {
      const gzip = await server.ask('GET', sync, { headers: { 'accept-encoding': 'gzip, deflate, br' } });
      expect(gzip.headers['content-encoding']).to.equal('gzip');
      expect(gzip.headers['vary']).to.contain('Accept-Encoding');
      expect(gunzipSync(gzip.bytes).toString()).to.equal(BIG);
      const zstd = await server.ask('GET', sync, { headers: { 'accept-encoding': 'gzip, zstd' } });
      expect(zstd.headers['content-encoding']).to.equal('zstd');
      expect(zstdDecompressSync(zstd.bytes).toString()).to.equal(BIG);
    });
    it('leaves small bodies and clients that do not accept it alone', async () => {
      for (const encoding of ['', 'identity', 'br', 'gzip;q=0, zstd;q=0']) {
        const answer = await server.ask('GET', sync, { headers: { 'accept-encoding': encoding } });
        expect(answer.headers['content-encoding'], encoding).to.equal(undefined);
        expect(answer.text).to.equal(BIG);
      }
      const small = await server.ask('POST', echo, { body: { name: 'n' }, headers: { 'accept-encoding': 'gzip' } });
      expect(small.headers['content-encoding']).to.equal(undefined);
    });
  });
});
