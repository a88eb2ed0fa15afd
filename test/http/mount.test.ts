import { expect } from 'chai';
import { Type } from 'typebox';
import { type Endpoint, endpoint, Reply, StreamBody } from '#src/http/endpoint.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { TestServer } from './serve.ts';

const get = (path: string, more: Partial<Endpoint<unknown>> = {}): Endpoint<unknown> =>
  ({
    operationId: path,
    summary: '',
    method: 'GET',
    path,
    auth: 'none',
    rateLimit: 'none',
    response: Type.Object({}),
    errcodes: [],
    handler: async (_, context: { params: unknown }) => ({ path, params: context.params }),
    ...more,
  }) as Endpoint<unknown>;

const room = '/_matrix/client/v3/rooms/{roomId}';
const ENDPOINTS: Endpoint<unknown>[] = [
  get('/_matrix/client/v3/things/{thingId}', { aliases: ['/_matrix/client/unstable/org.example/things/{thingId}'] }),
  get('/_matrix/client/v3/things/latest'),
  get('/_matrix/client/v3/slash/'),
  get('/_matrix/key/v2/server'),
  get('/_matrix/federation/v1/version'),
  get('/_matrix/media/v3/config'),
  get(`${room}/state/{eventType}/{stateKey}`, { operationId: 'getState' }),
  get(`${room}/state`, { operationId: 'getAllState' }),
  { ...get(`${room}/state/{eventType}/{stateKey}`, { operationId: 'putState' }), method: 'PUT' },
  { ...get('/_matrix/client/v3/mixed/{id}', { operationId: 'putMixed' }), method: 'PUT' },
  get('/_matrix/client/v3/mixed/fixed', { operationId: 'getMixed' }),
  get('/outside'),
  endpoint({
    operationId: 'convert',
    summary: '',
    method: 'GET',
    path: '/_matrix/client/v3/convert/{version}',
    auth: 'none',
    rateLimit: 'none',
    params: Type.Object({ version: Type.Integer() }),
    query: Type.Object({
      limit: Type.Optional(Type.Integer({ minimum: 0 })),
      full_state: Type.Optional(Type.Boolean()),
      via: Type.Optional(Type.Array(Type.String())),
      dir: Type.Union([Type.Literal('b'), Type.Literal('f')]),
    }),
    response: Type.Object({}),
    errcodes: [],
    handler: async (_, { params, query }) => ({ params, query }),
  }),
  endpoint({
    operationId: 'who',
    summary: '',
    method: 'GET',
    path: '/_matrix/client/v3/who',
    auth: 'accessToken',
    guests: 'refused',
    suspended: 'refused',
    rateLimit: 'none',
    response: Type.Object({}),
    errcodes: [],
    handler: async (_, { requester, info }) => ({ user: requester.userId, ip: info.ip }),
  }),
  get('/_matrix/client/v3/maybe', {
    auth: 'optionalToken',
    guests: 'allowed',
    suspended: 'allowed',
    handler: async (_, context: { requester?: { userId: string } }) => ({ user: context.requester?.userId ?? null }),
  }),
  get('/_matrix/client/v3/guests', { auth: 'accessToken', guests: 'allowed', suspended: { refused: 'for a test' } }),
  get('/_synapse/admin/v1/secret', { auth: 'admin', guests: 'refused', suspended: 'refused' }),
  get('/_matrix/client/v3/reply', {
    handler: async () => new Reply({ status: 401, json: '{"flows":  []}', headers: { 'X-Extra': 'yes' } }),
  }),
  get('/_matrix/client/v3/nothing', { handler: async () => undefined }),
  get('/_matrix/client/v3/redirect', { handler: async () => new Reply({ status: 302, headers: { Location: '/x' } }) }),
  get('/_matrix/client/v3/refused', {
    handler: async () => {
      throw new MatrixError('M_UNKNOWN_TOKEN', 'Gone.', { soft_logout: true });
    },
  }),
  get('/_matrix/client/v3/broken', {
    operationId: 'broken',
    handler: async () => {
      throw new Error('the secret is 42');
    },
  }),
];

describe('mountEndpoints', () => {
  const server = new TestServer();
  before(() => server.start(ENDPOINTS, {}, { trustedProxies: ['127.0.0.0/8', '10.0.0.0/8'] }));
  after(() => server.stop());

  describe('routes', () => {
    it('answers 404 M_UNRECOGNIZED for an unknown path in every namespace', async () => {
      for (const path of [
        '/_matrix/client/v3/nope',
        '/_matrix/key/v2/nope',
        '/_matrix/federation/v1/nope',
        '/_matrix/media/nope',
        '/_synapse/x',
        '/nope',
      ]) {
        const answer = await server.ask('GET', path);
        expect(answer.status, path).to.equal(404);
        expect(answer.json['errcode'], path).to.equal('M_UNRECOGNIZED');
      }
    });
    it('answers 405 M_UNRECOGNIZED for a known path with another method in every namespace', async () => {
      for (const path of [
        '/_matrix/client/v3/things/a',
        '/_matrix/key/v2/server',
        '/_matrix/federation/v1/version',
        '/_matrix/media/v3/config',
      ]) {
        for (const method of ['POST', 'DELETE', 'PATCH']) {
          const answer = await server.ask(method, path);
          expect(answer.status, path).to.equal(405);
          expect(answer.json['errcode'], path).to.equal('M_UNRECOGNIZED');
          expect(answer.headers['allow']).to.equal('GET, HEAD, OPTIONS');
        }
      }
    });
    it('lets a written segment win over a parameter, for its own method only', async () => {
      expect((await server.ask('GET', '/_matrix/client/v3/things/latest')).json['path']).to.equal(
        '/_matrix/client/v3/things/latest',
      );
      expect((await server.ask('PUT', '/_matrix/client/v3/mixed/fixed')).json['params']).to.deep.equal({ id: 'fixed' });
    });
    it('serves r0 for every v3 path, and the declared aliases', async () => {
      for (const path of ['/_matrix/client/r0/things/a', '/_matrix/client/unstable/org.example/things/a']) {
        expect((await server.ask('GET', path)).json['params'], path).to.deep.equal({ thingId: 'a' });
      }
    });
    it('tolerates a trailing slash only where it is declared', async () => {
      expect((await server.ask('GET', '/_matrix/client/v3/slash/')).status).to.equal(200);
      expect((await server.ask('GET', '/_matrix/client/v3/slash')).status).to.equal(404);
      expect((await server.ask('GET', '/_matrix/client/v3/things/a/')).status).to.equal(404);
      expect((await server.ask('GET', '/_matrix/client/v3/things/')).status).to.equal(404);
    });
    it('serves state without a state key, with and without a trailing slash', async () => {
      for (const version of ['v3', 'r0']) {
        for (const end of ['', '/']) {
          for (const method of ['GET', 'PUT']) {
            const answer = await server.ask(method, `/_matrix/client/${version}/rooms/!r:test/state/m.room.name${end}`);
            expect(answer.json['params']).to.deep.equal({ roomId: '!r:test', eventType: 'm.room.name', stateKey: '' });
          }
        }
      }
      const keyed = await server.ask('GET', '/_matrix/client/v3/rooms/!r:test/state/m.room.member/@a:test');
      expect(keyed.json['params']).to.deep.equal({
        roomId: '!r:test',
        eventType: 'm.room.member',
        stateKey: '@a:test',
      });
    });
    it('decodes path parameters exactly once and leaves an encoded slash inside its segment', async () => {
      const answer = await server.ask('GET', '/_matrix/client/v3/things/%2F%252F%20%E9%9B%86%E3%81%84+..');
      expect(answer.json['params']).to.deep.equal({ thingId: '/%2F 集い+..' });
    });
    it('answers 400 M_INVALID_PARAM for bad percent-encoding and for NUL', async () => {
      for (const segment of ['%zz', '%E9%9B', '%', 'a%00b']) {
        const answer = await server.ask('GET', `/_matrix/client/v3/things/${segment}`);
        expect(answer.status, segment).to.equal(400);
        expect(answer.json['errcode'], segment).to.equal('M_INVALID_PARAM');
      }
    });
    it('answers HEAD wherever it answers GET, without a body', async () => {
      const answer = await server.ask('HEAD', '/_matrix/client/v3/things/a');
      expect(answer.status).to.equal(200);
      expect(answer.bytes.length).to.equal(0);
      expect(Number(answer.headers['content-length'])).to.be.greaterThan(2);
      expect((await server.ask('HEAD', '/_matrix/client/v3/nope')).status).to.equal(404);
    });
    it('takes a request target in absolute form', async () => {
      const received = await server.speak(
        'GET http://test/_matrix/client/v3/things/a?x=1 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n',
      );
      expect(received).to.match(/^HTTP\/1\.1 200/);
    });
    it('refuses two operations with one method and path when it is mounted', async () => {
      const other = new TestServer();
      let failure: unknown;
      await other
        .start([get('/a/{x}'), get('/a/{y}', { operationId: 'second' })], {})
        .catch((error: unknown) => (failure = error));
      expect(String(failure)).to.contain('declared twice');
    });
  });

  describe('headers', () => {
    it('sends CORS headers with every answer under /_matrix, /_synapse and /.well-known, errors included', async () => {
      for (const path of [
        '/_matrix/client/v3/things/a',
        '/_matrix/nope',
        '/_synapse/nope',
        '/.well-known/matrix/nope',
        '/_matrix/client/v3/broken',
      ]) {
        const { headers } = await server.ask('GET', path);
        expect(headers['access-control-allow-origin'], path).to.equal('*');
        expect(headers['access-control-expose-headers'], path).to.contain('Retry-After');
      }
      expect((await server.ask('GET', '/outside')).headers['access-control-allow-origin']).to.equal(undefined);
    });
    it('answers a preflight on anything without asking for a token', async () => {
      for (const path of ['/_matrix/client/v3/who', '/_matrix/nope', '/outside', '/nope']) {
        const answer = await server.ask('OPTIONS', path);
        expect(answer.status, path).to.equal(204);
        expect(answer.headers['access-control-allow-origin'], path).to.equal('*');
        for (const method of ['GET', 'POST', 'PUT', 'DELETE'])
          expect(answer.headers['access-control-allow-methods']).to.contain(method);
        for (const header of ['X-Requested-With', 'Content-Type', 'Authorization', 'Date']) {
          expect(answer.headers['access-control-allow-headers']).to.contain(header);
        }
      }
    });
    it('gives every request an id of its own, and takes over that of a trusted proxy', async () => {
      const ids = await Promise.all(
        [1, 2, 3].map(async () => (await server.ask('GET', '/nope')).headers['x-request-id']),
      );
      expect(new Set(ids).size).to.equal(3);
      expect(
        (await server.ask('GET', '/nope', { headers: { 'x-request-id': 'from-proxy' } })).headers['x-request-id'],
      ).to.equal('from-proxy');
      expect(
        (await server.ask('GET', '/nope', { headers: { 'x-request-id': 'no spaces' } })).headers['x-request-id'],
      ).not.to.equal('no spaces');
    });
    it('believes X-Forwarded-For as far as the trusted proxies reach', async () => {
      const ip = async (forwarded: string): Promise<unknown> =>
        (
          await server.ask('GET', '/_matrix/client/v3/who', {
            token: 'alice',
            headers: { 'x-forwarded-for': forwarded },
          })
        ).json['ip'];
      expect(await ip('6.6.6.6, 203.0.113.9, 10.1.2.3')).to.equal('203.0.113.9');
      expect(await ip('[2001:db8::1]:443')).to.equal('2001:db8::1');
      expect(await ip('garbage')).to.equal('127.0.0.1');
    });
  });

  describe('authentication', () => {
    const who = '/_matrix/client/v3/who';
    it('takes the token from the Authorization header or from the query', async () => {
      expect((await server.ask('GET', who, { token: 'alice' })).json['user']).to.equal('@alice:test');
      expect((await server.ask('GET', who, { headers: { authorization: 'bearer alice' } })).json['user']).to.equal(
        '@alice:test',
      );
      expect((await server.ask('GET', `${who}?access_token=bob`)).json['user']).to.equal('@bob:test');
    });
    it('answers 401 M_MISSING_TOKEN without a token and 401 M_UNKNOWN_TOKEN with a wrong one', async () => {
      for (const [path, token, errcode] of [
        [who, undefined, 'M_MISSING_TOKEN'],
        [`${who}?access_token=`, undefined, 'M_MISSING_TOKEN'],
        [who, 'wrong', 'M_UNKNOWN_TOKEN'],
      ] as const) {
        const answer = await server.ask('GET', path, token === undefined ? {} : { token });
        expect(answer.status).to.equal(401);
        expect(answer.json['errcode']).to.equal(errcode);
      }
    });
    it('serves optional tokens with and without one, but not with a wrong one', async () => {
      expect((await server.ask('GET', '/_matrix/client/v3/maybe')).json['user']).to.equal(null);
      expect((await server.ask('GET', '/_matrix/client/v3/maybe', { token: 'alice' })).json['user']).to.equal(
        '@alice:test',
      );
      expect((await server.ask('GET', '/_matrix/client/v3/maybe', { token: 'wrong' })).status).to.equal(401);
    });
    it('refuses guests with 403 M_GUEST_ACCESS_FORBIDDEN where they are not served', async () => {
      const answer = await server.ask('GET', who, { token: 'guest' });
      expect(answer.status).to.equal(403);
      expect(answer.json['errcode']).to.equal('M_GUEST_ACCESS_FORBIDDEN');
      expect((await server.ask('GET', '/_matrix/client/v3/guests', { token: 'guest' })).status).to.equal(200);
    });
    it('keeps the administration for administrators: 403 M_FORBIDDEN', async () => {
      const answer = await server.ask('GET', '/_synapse/admin/v1/secret', { token: 'alice' });
      expect(answer.status).to.equal(403);
      expect(answer.json['errcode']).to.equal('M_FORBIDDEN');
      expect((await server.ask('GET', '/_synapse/admin/v1/secret', { token: 'admin' })).status).to.equal(200);
    });
    it('refuses suspended users with 403 M_USER_SUSPENDED where they are not served, administrators as well', async () => {
      const refused = { status: 403, errcode: 'M_USER_SUSPENDED' };
      const ask = async (path: string, token: string): Promise<object> => {
        const { status, json } = await server.ask('GET', path, { token });
        return { status, errcode: json['errcode'] };
      };
      expect(await ask('/_matrix/client/v3/guests', 'suspended')).to.deep.equal(refused);
      expect(await ask('/_synapse/admin/v1/secret', 'suspended-admin')).to.deep.equal(refused);
      expect(await ask('/_matrix/client/v3/maybe', 'suspended')).to.include({ status: 200 });
    });
    it('refuses to mount what cannot be served: no such authentication, a signed stream, nothing said of guests', async () => {
      const failure = async (endpoint: Endpoint<unknown>): Promise<string> =>
        new TestServer().start([endpoint], {}, { authenticateServer: async () => ({ serverName: 'a' }) }).then(
          () => 'mounted',
          (error: Error) => error.message,
        );
      const path = '/_matrix/federation/v1/x';
      expect(await failure(get(path, { auth: 'appservice' }))).to.contain('authentication appservice');
      expect(await failure(get(path, { auth: 'server', body: new StreamBody(1) }))).to.contain('stream');
      expect(await failure(get(path, { auth: 'accessToken', guests: 'allowed' }))).to.contain('suspended');
    });
  });

  describe('path and query parameters', () => {
    const convert = '/_matrix/client/v3/convert/7';
    it('converts text by the schema, collects repeated keys and ignores unknown ones', async () => {
      const answer = await server.ask('GET', `${convert}?limit=10&full_state=true&via=a&via=b%20c&dir=b&other=1&dir=f`);
      expect(answer.json).to.deep.equal({
        params: { version: 7 },
        query: { limit: 10, full_state: true, via: ['a', 'b c'], dir: 'b' },
      });
      expect((await server.ask('GET', `${convert}?via=a&dir=f`)).json['query']).to.deep.equal({ via: ['a'], dir: 'f' });
    });
    it('takes an optional query parameter without a value as absent', async () => {
      expect((await server.ask('GET', `${convert}?limit=&full_state=&via=&via=a&dir=f`)).json['query']).to.deep.equal({
        via: ['a'],
        dir: 'f',
      });
      const answer = await server.ask('GET', `${convert}?dir=`);
      expect([answer.status, answer.json['errcode']]).to.deep.equal([400, 'M_INVALID_PARAM']);
    });
    it('answers 400 M_MISSING_PARAM for a missing parameter and M_INVALID_PARAM for a wrong one, and names it', async () => {
      for (const [path, errcode, name] of [
        [convert, 'M_MISSING_PARAM', 'dir'],
        [`${convert}?dir=x`, 'M_INVALID_PARAM', 'dir'],
        [`${convert}?dir=b&limit=ten`, 'M_INVALID_PARAM', 'limit'],
        [`${convert}?dir=b&limit=1.5`, 'M_INVALID_PARAM', 'limit'],
        [`${convert}?dir=b&limit=-1`, 'M_INVALID_PARAM', 'limit'],
        [`${convert}?dir=b&full_state=1`, 'M_INVALID_PARAM', 'full_state'],
        [`${convert}?dir=b&via=a%00`, 'M_INVALID_PARAM', 'via'],
        ['/_matrix/client/v3/convert/x?dir=b', 'M_INVALID_PARAM', 'version'],
      ] as const) {
        const answer = await server.ask('GET', path);
        expect(answer.status, path).to.equal(400);
        expect(answer.json['errcode'], path).to.equal(errcode);
        expect(answer.json['error'], path).to.contain(name);
      }
    });
  });

  describe('answers', () => {
    it('sends what a Reply says, byte for byte', async () => {
      const answer = await server.ask('GET', '/_matrix/client/v3/reply');
      expect(answer.status).to.equal(401);
      expect(answer.text).to.equal('{"flows":  []}');
      expect(answer.headers['x-extra']).to.equal('yes');
      expect(answer.headers['content-type']).to.equal('application/json');
    });
    it('sends an empty object for nothing, and no body with a redirect', async () => {
      expect((await server.ask('GET', '/_matrix/client/v3/nothing')).text).to.equal('{}');
      const redirect = await server.ask('GET', '/_matrix/client/v3/redirect');
      expect([redirect.status, redirect.headers['location'], redirect.text]).to.deep.equal([302, '/x', '']);
    });
    it('sends a MatrixError with its status and members', async () => {
      const answer = await server.ask('GET', '/_matrix/client/v3/refused');
      expect(answer.status).to.equal(401);
      expect(answer.json).to.deep.equal({ errcode: 'M_UNKNOWN_TOKEN', error: 'Gone.', soft_logout: true });
    });
    it('sends 500 M_UNKNOWN without detail for anything else, and logs it once with its stack', async () => {
      server.lines.length = 0;
      const answer = await server.ask('GET', '/_matrix/client/v3/broken');
      expect(answer.status).to.equal(500);
      expect(answer.json['errcode']).to.equal('M_UNKNOWN');
      expect(answer.text).not.to.contain('42');
      await server.line(({ message }) => message === 'request');
      const errors = server.lines.filter(({ level }) => level === 'error');
      expect(errors).to.have.length(1);
      expect((errors[0]?.fields['err'] as Error | undefined)?.stack).to.contain('the secret is 42');
      expect(errors[0]?.fields['operation']).to.equal('client-server.broken');
    });
  });
});
