import { once } from 'node:events';
import { connect } from 'node:net';
import { expect } from 'chai';
import { Type } from 'typebox';
import { type Endpoint, endpoint, Reply } from '#src/http/endpoint.ts';
import { BytesInFlight, DEFAULT_BYTES_IN_FLIGHT } from '#src/kernel/limits/bytes-in-flight.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { TokenBucketLimiter } from '#src/kernel/limits/rate-limiter.ts';
import { Turns } from '#src/kernel/event-loop/turns.ts';
import { databaseAnswered } from '#src/kernel/event-loop/work.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { until } from '#test/support/until.ts';
import { TestServer } from './serve.ts';

const common = { summary: '', response: Type.Object({}), errcodes: [], rateLimit: 'default' } as const;
const own = { ...common, auth: 'accessToken', guests: 'refused', suspended: 'refused' } as const;
const turnsTaken: string[] = [];
const ENDPOINTS: Endpoint<unknown>[] = [
  endpoint({
    ...own,
    operationId: 'large',
    method: 'GET',
    path: '/large',
    handler: async () => new Reply({ json: JSON.stringify({ text: 'x'.repeat(400_000) }) }),
  }),
  endpoint({
    ...own,
    operationId: 'rows',
    method: 'GET',
    path: '/rows',
    handler: async () => {
      await Promise.resolve();
      await databaseAnswered(1_500);
      return {};
    },
  }),
  endpoint({
    ...own,
    operationId: 'body',
    method: 'POST',
    path: '/body',
    body: Type.Object({}),
    handler: async () => ({}),
  }),
  endpoint({
    ...common,
    auth: 'none',
    operationId: 'open',
    method: 'GET',
    path: '/open',
    handler: async () => new Reply({ json: JSON.stringify({ text: 'x'.repeat(400_000) }) }),
  }),
  endpoint({
    ...own,
    operationId: 'small',
    method: 'GET',
    path: '/small',
    handler: async (_, { requester }) => {
      turnsTaken.push(requester.userId);
      return {};
    },
  }),
  endpoint({
    ...own,
    operationId: 'asking',
    method: 'POST',
    path: '/asking',
    onlyAsks: true,
    body: Type.Object({}),
    handler: async (_, { requester }) => {
      turnsTaken.push(`asked by ${requester.userId}`);
      return {};
    },
  }),
  endpoint({
    ...own,
    operationId: 'change',
    method: 'POST',
    path: '/small',
    body: Type.Object({}),
    handler: async (_, { requester }) => {
      turnsTaken.push(`changed by ${requester.userId}`);
      return {};
    },
  }),
];

/** Turns of an event loop that come when the test says so: `pass` lets them come until something is over. */
const heldTurns = (): {
  readonly real: ManualClock;
  readonly turns: Turns;
  readonly pass: (until: Promise<unknown>) => Promise<void>;
} => {
  const nextTurn: (() => void)[] = [];
  const real = new ManualClock();
  const turns = new Turns({ clock: real, metrics: noMetrics, onNextTurn: (callback) => void nextTurn.push(callback) });
  const pass = async (until: Promise<unknown>): Promise<void> => {
    const isOver = until.then(() => true);
    while ((await Promise.race([isOver, new Promise((resolve) => setImmediate(resolve))])) !== true)
      for (const callback of nextTurn.splice(0)) callback();
  };
  return { real, turns, pass };
};

describe('what requests cost', () => {
  let server: TestServer;
  let clock: ManualClock;
  const start = async (turns?: Turns, bytesInFlight?: BytesInFlight): Promise<void> => {
    clock = new ManualClock();
    server = await new TestServer().start(
      ENDPOINTS,
      {},
      {
        rateLimiter: new TokenBucketLimiter(clock, { enabled: true, buckets: { work: { perSecond: 10, burst: 10 } } }),
        knows: () => true,
        ...(turns === undefined ? {} : { turns }),
        ...(bytesInFlight === undefined ? {} : { bytesInFlight }),
      },
    );
  };
  afterEach(() => server.stop());
  const status = async (method: string, path: string, token?: string, body?: unknown): Promise<number> =>
    (
      await server.ask(method, path, {
        ...(token === undefined ? {} : { token }),
        ...(body === undefined ? {} : { body }),
      })
    ).status;

  it('is paid by the user afterwards: for large answers, many rows, and large bodies', async () => {
    const text = 'x'.repeat(700_000);
    for (const [method, path, body] of [
      ['GET', '/large', undefined],
      ['GET', '/rows', undefined],
      ['POST', '/body', { text }],
    ] as const) {
      await start();
      expect(await status(method, path, 'alice', body), path).to.equal(200);
      const refused = await server.ask('GET', '/small', { token: 'alice' });
      expect([path, refused.status, refused.json['org.tsudoi.limiter']]).to.deep.equal([path, 429, 'work']);
      expect(await status('GET', '/small', 'bob')).to.equal(200);
      expect(await status('GET', '/small', 'exempt')).to.equal(200);
      await clock.advance(Number(refused.json['retry_after_ms']));
      expect(await status('GET', '/small', 'alice')).to.equal(200);
      if (path !== '/body') await server.stop();
    }
  });
  it('is paid by the network where there is no account', async () => {
    await start();
    expect([await status('GET', '/open'), await status('GET', '/open')]).to.deep.equal([200, 429]);
    expect(await status('GET', '/small', 'alice')).to.equal(200);
  });
  it('is nothing for what is small, however often', async () => {
    await start();
    for (let count = 0; count < 200; count += 1) expect(await status('GET', '/small', 'alice')).to.equal(200);
  });
  it('is refused before it is spent where JSON is all structure: 413 M_TOO_LARGE', async () => {
    await start();
    const values = (count: number): string => `{"x":[${'[],'.repeat(count)}1]}`;
    const refused = await server.ask('POST', '/body', { token: 'alice', raw: values(60_000) });
    expect([refused.status, refused.json['errcode']]).to.deep.equal([413, 'M_TOO_LARGE']);
    expect(refused.json['error']).to.contain('values');
    await clock.advance(60_000);
    expect((await server.ask('POST', '/body', { token: 'alice', raw: values(40_000) })).status).to.equal(200);
    const text = await server.ask('POST', '/body', { token: 'bob', raw: `{"x":"${'[],'.repeat(200_000)}"}` });
    expect(text.status).to.equal(200);
  });
  it('waits for a turn in which there is time for it', async () => {
    const { pass, real, turns } = heldTurns();
    await start(turns);
    turnsTaken.length = 0;
    expect(await status('GET', '/small', 'alice')).to.equal(200);
    real.spend(20);
    const asked = [
      status('GET', '/small', 'alice'),
      status('GET', '/small', 'bob'),
      // Nobody answers for these: they wait before anything is looked at.
      status('GET', '/nope'),
      status('OPTIONS', '/small'),
    ];
    await until('all of them wait', () => turns.waiting === 4);
    expect(turnsTaken).to.deep.equal(['@alice:test']);
    const answered = Promise.all(asked);
    await pass(answered);
    expect(await answered).to.deep.equal([200, 200, 404, 204]);
  });
  it('is nothing for one that only asks, when its client goes away before its turn; what changes something is done', async () => {
    const { pass, real, turns } = heldTurns();
    await start(turns);
    turnsTaken.length = 0;
    expect(await status('GET', '/small', 'alice')).to.equal(200);
    real.spend(20);
    const sockets = ['GET /small', 'POST /asking', 'POST /small'].map((begin) => {
      const socket = connect(server.port, '127.0.0.1');
      socket.write(`${begin} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer bob\r\nContent-Length: 2\r\n\r\n{}`);
      return socket;
    });
    await until('all of them wait', () => turns.waiting === 3);
    const gone = sockets.map((socket) => once(socket, 'close'));
    for (const socket of sockets) socket.destroy();
    await Promise.all(gone);
    const asked = status('GET', '/small', 'exempt');
    await until('one more waits', () => turns.waiting === 4);
    await pass(asked);
    expect(turnsTaken.toSorted()).to.deep.equal(['@alice:test', '@exempt:test', 'changed by @bob:test']);
  });
  it('of a large body are spent in turn before any of it is read', async () => {
    const { pass, real, turns } = heldTurns();
    const bytesInFlight = new BytesInFlight(DEFAULT_BYTES_IN_FLIGHT, noMetrics);
    await start(turns, bytesInFlight);
    expect(await status('GET', '/small', 'alice')).to.equal(200);
    real.spend(20);
    const asked = status('POST', '/body', 'bob', { text: 'x'.repeat(500_000) });
    await until('it waits', () => turns.waiting === 1);
    expect(bytesInFlight.used).to.equal(0);
    await pass(asked);
    expect(await asked).to.equal(200);
  });
  it('is not even an answer for strangers of whom too many wait', async () => {
    const real = new ManualClock();
    const turns = new Turns({ clock: real, metrics: noMetrics, maxWaiting: 4, onNextTurn: () => {} });
    await start(turns);
    await status('GET', '/nope');
    real.spend(20);
    const outcomes: string[] = [];
    const ask = (): void =>
      void status('GET', '/nope').then(
        () => outcomes.push('answered'),
        () => outcomes.push('closed'),
      );
    for (let count = 0; count < 7; count += 1) ask();
    await until('those for whom there is no room are sent away', () => outcomes.length + turns.waiting === 7);
    expect(turns.waiting).to.equal(4);
    expect(outcomes).to.deep.equal(['closed', 'closed', 'closed']);
  });
});
