import { expect } from 'chai';
import { Type } from 'typebox';
import { type Endpoint, endpoint } from '#src/http/endpoint.ts';
import { TokenBucketLimiter } from '#src/kernel/limits/rate-limiter.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { until } from '#test/support/until.ts';
import { TestServer } from './serve.ts';

const aborted: string[] = [];
/** Who waits in a handler, and how they are let go on. */
const waiting: (() => void)[] = [];
const clock = new ManualClock();

/** Takes `ms` milliseconds, by the clock of the server; with `wait`, until it is let go on or its signal is aborted. */
const waits = (operationId: string, longPoll: boolean): Endpoint<unknown> =>
  endpoint({
    operationId,
    summary: '',
    method: 'GET',
    path: `/_matrix/client/v3/${operationId}`,
    auth: 'none',
    rateLimit: 'none',
    longPoll,
    query: Type.Object({ ms: Type.Optional(Type.Integer()), wait: Type.Optional(Type.Boolean()) }),
    response: Type.Object({}),
    errcodes: [],
    handler: async (_, { query, info }) => {
      clock.spend(query.ms ?? 0);
      info.signal.addEventListener('abort', () => aborted.push(operationId));
      if (query.wait === true)
        await new Promise<void>((resolve) => {
          waiting.push(resolve);
          info.signal.addEventListener('abort', () => resolve());
        });
      return {};
    },
  });

const limited = (auth: 'none' | 'accessToken', path: string): Endpoint<unknown> =>
  endpoint({
    operationId: `limited-${auth}`,
    summary: '',
    method: 'GET',
    path,
    auth,
    ...(auth === 'none' ? {} : { guests: 'refused', suspended: 'refused' }),
    rateLimit: 'login',
    response: Type.Object({}),
    errcodes: [],
    handler: async () => ({}),
  });

describe('rate limits, log and metrics of requests', () => {
  let server: TestServer;
  beforeEach(async () => {
    aborted.length = 0;
    waiting.length = 0;
    server = await new TestServer().start(
      [
        waits('poll', true),
        waits('slow', false),
        limited('none', '/_matrix/client/v3/open'),
        limited('accessToken', '/_matrix/client/v3/own'),
      ],
      {},
      {
        clock,
        rateLimiter: new TokenBucketLimiter(clock, {
          enabled: true,
          buckets: { login: { perSecond: 0.1, burst: 2 } },
        }),
        requestLog: { slowMs: 40 },
        limits: { maxConcurrentRequests: 3 },
      },
    );
  });
  afterEach(() => server.stop());

  it('answers 429 M_LIMIT_EXCEEDED with the wait in the body and the header, and which limiter it was', async () => {
    for (let count = 0; count < 2; count += 1)
      expect((await server.ask('GET', '/_matrix/client/v3/open')).status).to.equal(200);
    const answer = await server.ask('GET', '/_matrix/client/v3/open');
    expect(answer.status).to.equal(429);
    expect(answer.json['errcode']).to.equal('M_LIMIT_EXCEEDED');
    expect(answer.json['retry_after_ms']).to.equal(10_000);
    expect(answer.json['org.tsudoi.limiter']).to.equal('login');
    expect(answer.json['error']).to.contain('login');
    expect(answer.headers['retry-after']).to.equal('10');
  });
  it('limits each user alone, whatever the address, and lets exempt users through', async () => {
    const status = async (token: string): Promise<number> =>
      (await server.ask('GET', '/_matrix/client/v3/own', { token })).status;
    expect([await status('alice'), await status('alice'), await status('alice')]).to.deep.equal([200, 200, 429]);
    expect(await status('bob')).to.equal(200);
    for (let count = 0; count < 5; count += 1) expect(await status('exempt')).to.equal(200);
  });
  it('checks the token before the limit: a wrong one is 401, not 429', async () => {
    for (let count = 0; count < 5; count += 1) {
      expect((await server.ask('GET', '/_matrix/client/v3/own', { token: 'wrong' })).status).to.equal(401);
    }
  });
  it('answers 429 when too many requests run at once', async () => {
    const running = [1, 2, 3].map(() => server.begin('GET', '/_matrix/client/v3/poll?wait=true'));
    await until('they run', () => waiting.length === 3);
    const answer = await server.ask('GET', '/_matrix/client/v3/poll?ms=0');
    expect(answer.status).to.equal(429);
    expect(answer.json['org.tsudoi.limiter']).to.equal('concurrent_requests');
    for (const release of waiting) release();
    for (const { answer: late } of running) expect((await late).status).to.equal(200);
    expect((await server.ask('GET', '/_matrix/client/v3/poll?ms=0')).status).to.equal(200);
  });

  it('writes one line and one sample per request, and never the token', async () => {
    await server.ask('GET', '/_matrix/client/v3/own?access_token=alice');
    const line = await server.line(({ message }) => message === 'request');
    expect(line.level).to.equal('debug');
    expect(line.fields).to.include({
      method: 'GET',
      operation: 'client-server.limited-accessToken',
      status: 200,
      user_id: '@alice:test',
    });
    expect(line.fields['ms']).to.be.a('number');
    expect(line.fields['request_id']).to.be.a('string');
    expect(server.lines).to.have.length(1);
    expect(JSON.stringify(server.lines)).not.to.contain('access_token');
    expect(server.samples).to.deep.equal([
      {
        name: 'tsudoi_http_request_seconds',
        labels: { operation: 'client-server.limited-accessToken', status: '200' },
      },
    ]);
  });
  it('raises errors and slow requests to info, but not long-polls', async () => {
    await server.ask('GET', '/nope');
    const refused = await server.line(({ fields }) => fields['status'] === 404);
    expect([refused.level, refused.fields['errcode']]).to.deep.equal(['info', 'M_UNRECOGNIZED']);
    await server.ask('GET', '/_matrix/client/v3/slow?ms=60');
    expect((await server.line(({ fields }) => fields['operation'] === 'client-server.slow')).level).to.equal('info');
    await server.ask('GET', '/_matrix/client/v3/poll?ms=60');
    expect((await server.line(({ fields }) => fields['operation'] === 'client-server.poll')).level).to.equal('debug');
  });
  it('aborts the signal when the client goes away, and writes it as 499', async () => {
    const { request, answer } = server.begin('GET', '/_matrix/client/v3/poll?wait=true');
    await until('it runs', () => waiting.length === 1);
    request.destroy();
    await answer.catch(() => {});
    const line = await server.line(({ message }) => message === 'request');
    expect(line.fields['status']).to.equal(499);
    expect(aborted).to.deep.equal(['poll']);
  });
  it('does not abort the signal of a request that was answered', async () => {
    await server.ask('GET', '/_matrix/client/v3/poll?ms=1');
    // Each has a connection of its own. Those that were answered are closed when the server has drained.
    await server.stop();
    expect(aborted).to.deep.equal([]);
  });
});
