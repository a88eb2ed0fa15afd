import { connect } from 'node:net';
import { expect } from 'chai';
import { Type } from 'typebox';
import { type Endpoint, endpoint } from '#src/http/endpoint.ts';
import { TokenBucketLimiter } from '#src/kernel/limits/rate-limiter.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { TestServer } from './serve.ts';

const common = { summary: '', method: 'GET', response: Type.Object({}), errcodes: [] } as const;
const ENDPOINTS: Endpoint<unknown>[] = [
  endpoint({
    ...common,
    operationId: 'own',
    path: '/_matrix/client/v3/own',
    auth: 'accessToken',
    guests: 'refused',
    suspended: 'refused',
    rateLimit: 'message',
    handler: async () => ({}),
  }),
  endpoint({
    ...common,
    operationId: 'probe',
    path: '/probe',
    auth: 'none',
    rateLimit: 'none',
    handler: async () => ({}),
  }),
];

/** What it costs to ask for something in vain. */
const PATHS: readonly (readonly [string, string, string])[] = [
  ['an unknown path', 'GET /nope', ''],
  ['a wrong method', 'DELETE /_matrix/client/v3/own', ''],
  ['a preflight', 'OPTIONS /_matrix/client/v3/own', ''],
  ['a probe', 'GET /probe', ''],
  ['a missing token', 'GET /_matrix/client/v3/own', ''],
  ['a wrong token', 'GET /_matrix/client/v3/own', 'Authorization: Bearer nobody\r\n'],
];

describe('requests that are refused', () => {
  let server: TestServer;
  let asked: number;
  beforeEach(async () => {
    asked = 0;
    const known = new Set(['bob']);
    const authenticate = TestServer.authenticate;
    server = await new TestServer().start(
      ENDPOINTS,
      {},
      {
        rateLimiter: new TokenBucketLimiter(new ManualClock(), {
          enabled: true,
          buckets: { refused: { perSecond: 1, burst: 5 }, message: { perSecond: 1, burst: 3 } },
        }),
        trustedProxies: ['127.0.0.1'],
        knows: (token) => known.has(token),
        authenticate: (token) => {
          asked += 1;
          return authenticate(token);
        },
      },
    );
  });
  afterEach(() => server.stop());

  /** The statuses of what is answered to so many requests on one connection, until it is closed or `count` were answered. */
  const ask = (count: number, request: string, headers = '', from = '203.0.113.1'): Promise<number[]> =>
    new Promise((resolve) => {
      const statuses: number[] = [];
      const text = `${request} HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: ${from}\r\n${headers}\r\n`;
      const socket = connect(server.port, '127.0.0.1', () => socket.write(text));
      socket.on('error', () => {}).on('close', () => resolve(statuses));
      socket.on('data', (chunk: Buffer) => {
        statuses.push(...[...chunk.toString().matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => Number(match[1])));
        if (statuses.length < count) socket.write(text);
        else socket.destroy();
      });
    });

  for (const [what, request, headers] of PATHS) {
    it(`cost their network a token each, ${what} too, and beyond it the connection`, async () => {
      const statuses = await ask(20, request, headers);
      expect(statuses).to.have.length(6);
      expect(statuses.at(-1)).to.equal(429);
      expect(statuses.slice(0, 5)).not.to.include(429);
      // Every spelling of an IPv6 address in one /64 is one network.
      expect(await ask(20, request, headers, '2001:db8::1')).to.have.length(6);
      expect(await ask(20, request, headers, '2001:db8::2')).to.deep.equal([429]);
      expect((await ask(20, request, headers, '203.0.113.2'))[0]).not.to.equal(429);
    });
  }
  it('look at no token any more when they were too many, but for one that is known to be good', async () => {
    await ask(20, 'GET /nope');
    const before = asked;
    expect(await ask(1, 'GET /_matrix/client/v3/own', 'Authorization: Bearer nobody\r\n')).to.deep.equal([429]);
    expect(asked).to.equal(before);
    expect(await ask(1, 'GET /_matrix/client/v3/own', 'Authorization: Bearer bob\r\n')).to.deep.equal([200]);
  });
  it('count against a limit of their own, beyond which the connection is closed', async () => {
    const statuses = await ask(20, 'GET /_matrix/client/v3/own', 'Authorization: Bearer bob\r\n');
    expect(statuses).to.deep.equal([200, 200, 200, 429, 429, 429, 429, 429, 429]);
  });
  it('do not make a token that proves good cost anything', async () => {
    for (const token of ['alice', 'admin', 'bob']) {
      expect(await ask(3, 'GET /_matrix/client/v3/own', `Authorization: Bearer ${token}\r\n`)).to.deep.equal([
        200, 200, 200,
      ]);
    }
    expect((await ask(20, 'GET /nope')).filter((status) => status === 404)).to.have.length(5);
  });
  it('by the thousand are a hundred lines of the log, and one that says how many more there were', async () => {
    await server.stop();
    const clock = new ManualClock();
    server = await new TestServer().start(ENDPOINTS, {}, { timers: clock });
    const statuses = await ask(1_000, 'GET /nope');
    expect(statuses).to.have.length(1_000);
    await server.line(({ message }) => message === 'request');
    expect(server.lines.filter(({ message }) => message === 'request')).to.have.length(100);
    await clock.advance(10_000);
    const more = server.lines.filter(({ message }) => message === 'request: more of the same');
    expect(more.map(({ fields }) => fields)).to.deep.equal([
      { kind: 'unknown 404 M_UNRECOGNIZED', more: 900, window_ms: 10_000 },
    ]);
    await ask(1, 'GET /nope');
    expect(server.lines.filter(({ message }) => message === 'request')).to.have.length(101);
  });
});
