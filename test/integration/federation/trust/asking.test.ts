import { getEventListeners } from 'node:events';
import { expect } from 'chai';
import { matrixErrorOf } from '#src/remote/federation/federation-result.ts';
import { MAX_ANSWER_BYTES_OF_PARTY } from '#src/remote/federation/answer-bytes.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import { until } from '../../../support/until.ts';

const PATH = '/_matrix/federation/v1/thing';

describe('asking another server', () => {
  let federation: Federation;

  before(async () => {
    federation = await startFederation(['a.test'], {
      partners: ['p.test', 'q.test', 'away.servers.test', { serverName: 'c.test', certificate: 'other-name' }],
      server: { config: { federation: { deny: ['q.test'] } } },
    });
  });
  after(() => federation.stop());

  const client = () => federation.server('a.test').services.federationClient;
  const ask = (destination: string, more: object = {}) =>
    client().request({ destination, method: 'GET', path: PATH, ...more });
  /** The kind of failure, or what the answer says. */
  const outcome = async (destination: string, more: object = {}): Promise<unknown> => {
    const result = await ask(destination, more);
    return result.ok ? result.body : result.kind;
  };

  it('is signed over exactly what is sent, by the name of the server and not of where it is found', async () => {
    const partner = federation.partner('p.test');
    partner.on('POST', PATH, () => ({ body: { done: true } }));
    const content = { b: 1, a: ['x', { d: null, c: 1.5 }] };
    const query = { ids: ['$1', '$2 &'], none: undefined, ver: '10' };
    const result = await client().request({ destination: 'p.test', method: 'POST', path: PATH, query, content });
    expect(result).to.deep.equal({ ok: true, body: { done: true } });
    const asked = await partner.request('POST', /thing$/);
    expect(asked.query.getAll('ids')).to.deep.equal(['$1', '$2 &']);
    expect(asked.body).to.deep.equal(content);
    expect(asked.headers.host).to.equal('p.test');
    expect(asked.headers.authorization).to.match(
      /^X-Matrix origin="a\.test",destination="p\.test",key="ed25519:\w+",sig="[A-Za-z0-9+/]{86}"$/,
    );
  });

  it('ends with what it was refused with, for a client to be told', async () => {
    const partner = federation.partner('p.test');
    const refusing = (status: number, body: unknown, headers: Record<string, string> = {}): void =>
      partner.on('GET', PATH, () => ({ status, body, headers }));
    refusing(403, { errcode: 'M_FORBIDDEN', error: 'No.' });
    const refused = await ask('p.test');
    expect(refused).to.deep.include({ ok: false, kind: 'refused', status: 403, errcode: 'M_FORBIDDEN', error: 'No.' });
    if (!refused.ok) expect(matrixErrorOf(refused)).to.deep.include({ status: 403, errcode: 'M_FORBIDDEN' });
    refusing(401, { errcode: 'M_UNAUTHORIZED', error: 'Who?' });
    const unknown = await ask('p.test');
    if (!unknown.ok) expect(matrixErrorOf(unknown)).to.deep.include({ status: 502, errcode: 'M_CONNECTION_FAILED' });
    refusing(429, { errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: 5_000 });
    expect(await ask('p.test')).to.deep.include({ kind: 'refused', status: 429, retryAfterMs: 5_000 });
    refusing(503, '<html>', { 'retry-after': '7', 'content-type': 'text/html' });
    expect(await ask('p.test')).to.deep.include({ kind: 'refused', status: 503, retryAfterMs: 7_000 });
    federation.clock.set(5_000);
  });

  it('believes no answer that is no JSON object of a bearable size', async () => {
    const partner = federation.partner('p.test');
    const answers: readonly (readonly [string, unknown])[] = [
      ['[]', 'bad_answer'],
      ['"text"', 'bad_answer'],
      ['', 'bad_answer'],
      ['{"a":1', 'bad_answer'],
      [`${'{"a":'.repeat(2_000)}1${'}'.repeat(2_000)}`, 'bad_answer'],
      [`{"a":[${'[],'.repeat(200_000)}[]]}`, 'bad_answer'],
      [`{"a":"${'x'.repeat(1_100_000)}"}`, 'too_large'],
    ];
    for (const [body, kind] of answers) {
      partner.on('GET', PATH, () => ({ body }));
      expect(await outcome('p.test'), body.slice(0, 40)).to.equal(kind);
    }
    partner.on('GET', PATH, () => ({ body: Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]) }));
    expect(await outcome('p.test')).to.equal('bad_answer');
    partner.on('GET', PATH, ({ response }) => void response.writeHead(302, { location: 'https://p.test/' }).end());
    expect(await outcome('p.test')).to.equal('refused');
  });

  it('holds nothing of an answer whose reading goes on when the one who asked is done', async () => {
    const partner = federation.partner('p.test');
    partner.on('GET', PATH, () => ({ body: `{"a":[${'12345,'.repeat(60_000)}1]}` }));
    const held = client().hold(16 * 1024 * 1024);
    const giving = new AbortController();
    const take = held.take.bind(held);
    const read = Promise.withResolvers<boolean>();
    held.take = async (bytes, signal) => {
      // What its values weigh, after all of it has come.
      if (bytes < 1_000_000) return take(bytes, signal);
      giving.abort();
      held.release();
      const isTaken = await take(bytes, signal);
      read.resolve(isTaken);
      return isTaken;
    };
    expect(await outcome('p.test', { held, signal: giving.signal })).to.equal('unreachable');
    expect(await read.promise).to.equal(false);
    await federation.idle();
    expect(await federation.server('a.test').metrics.render()).to.match(/^tsudoi_federation_answer_bytes 0$/m);
  });

  it('finds that this server is busy, and not that an answer is too large, where there is no memory for it', async () => {
    const partner = federation.partner('p.test');
    partner.on('GET', PATH, () => ({ body: { a: 'x'.repeat(300_000) } }));
    const held = client().hold(100_000);
    expect(await outcome('p.test', { held })).to.equal('busy');
    held.release();
    expect(await outcome('p.test')).to.have.property('a');
    // Nor where it waits for memory until its time is over, or nobody wants it any more.
    const [all, none] = [client().hold(Infinity), client().hold(1_000_000)];
    expect(all.takeNow(MAX_ANSWER_BYTES_OF_PARTY)).to.equal(true);
    const waiting = async (): Promise<boolean> =>
      /^tsudoi_federation_answers_waiting 1$/m.test(await federation.server('a.test').metrics.render());
    const late = outcome('p.test', { held: none, timeouts: { totalMs: 7_000 } });
    await until('the waiting for memory', waiting);
    await federation.clock.advance(7_000);
    expect(await late).to.equal('timeout');
    const giving = new AbortController();
    const givenUp = outcome('p.test', { held: none, signal: giving.signal });
    await until('the waiting for memory', waiting);
    giving.abort();
    expect(await givenUp).to.equal('unreachable');
    all.release();
    expect(none.bytes).to.equal(0);
  });

  it('goes to nobody who cannot prove the name, who is denied, or who is this server itself', async () => {
    expect(await outcome('c.test')).to.equal('unreachable');
    expect(federation.partner('c.test').asked).to.deep.equal([]);
    expect(await outcome('q.test')).to.equal('denied');
    expect(federation.path('a.test', 'q.test').attempts).to.equal(0);
    expect(await outcome('a.test')).to.equal('denied');
    for (const name of ['10.0.0.1', '[fd00::1]', '[::ffff:10.0.0.1]:443', '169.254.169.254:80', 'not a name'])
      expect(await outcome(name), name).to.equal('denied');
    expect(await outcome('x.test:0')).to.equal('unreachable');
  });

  it('is given up when nobody waits for it any more', async () => {
    const partner = federation.partner('p.test');
    partner.on('GET', PATH, () => new Promise(() => undefined));
    const giving = new AbortController();
    const asking = outcome('p.test', { signal: giving.signal });
    await until('the request', () => partner.requests('GET', /thing$/).length > 0);
    giving.abort();
    expect(await asking).to.equal('unreachable');
    // That says nothing about the other server.
    partner.on('GET', PATH, () => ({ body: { here: true } }));
    expect(await outcome('p.test')).to.deep.equal({ here: true });
  });

  it('leaves nothing behind at the signal of those for whom many are made', async () => {
    const partner = federation.partner('p.test');
    partner.on('GET', PATH, () => ({ body: {} }));
    const { signal } = new AbortController();
    await Promise.all(Array.from({ length: 20 }, () => outcome('p.test', { signal })));
    expect(await outcome('nobody.test:1', { signal })).to.equal('unreachable');
    expect(getEventListeners(signal, 'abort')).to.deep.equal([]);
  });

  it('is put together when there is a connection to make it over, and not for servers that are away', async () => {
    const partner = federation.partner('p.test');
    partner.on('POST', PATH, () => ({ body: { done: true } }));
    partner.asked.length = 0;
    const path = federation.path('a.test', 'away.servers.test');
    let composed = 0;
    const composing = (destination: string, question?: { path: string; body: string }) =>
      client().request({
        destination,
        method: 'POST',
        compose: async () => {
          composed += 1;
          return question;
        },
      });
    path.cut();
    const before = path.attempts;
    expect(await composing('away.servers.test')).to.deep.include({ kind: 'unreachable' });
    expect([path.attempts - before, composed]).to.deep.equal([1, 0]);
    path.heal();
    federation.server('a.test').services.backoff.reached('away.servers.test');
    expect(await composing('p.test', { path: PATH, body: '{"x":1}' })).to.deep.equal({
      ok: true,
      body: { done: true },
    });
    expect(await composing('p.test')).to.deep.equal({ ok: true, body: {} });
    expect(composed).to.equal(2);
    expect(partner.asked.map(({ body }) => body)).to.deep.equal([{ x: 1 }]);
  });

  it('is not put together for those who give it up before there is one', async () => {
    const partner = federation.partner('p.test');
    partner.on('POST', PATH, () => ({ body: {} }));
    const composed: string[] = [];
    const composing = (what: string, signal?: AbortSignal) =>
      client().request({
        destination: 'p.test',
        method: 'POST',
        ...(signal === undefined ? {} : { signal }),
        compose: () => {
          composed.push(what);
          return Promise.resolve({ path: PATH, body: '{}' });
        },
      });
    const giving = new AbortController();
    const givenUp = composing('given up', giving.signal);
    giving.abort();
    expect(await givenUp).to.deep.include({ kind: 'unreachable' });
    expect(await composing('wanted')).to.deep.equal({ ok: true, body: {} });
    expect(composed).to.deep.equal(['wanted']);
  });

  it('may be answered bit by bit, as much as is wanted', async () => {
    const partner = federation.partner('p.test');
    partner.on('GET', PATH, () => ({ body: Buffer.alloc(300_000, 'x'), headers: { 'content-type': 'image/png' } }));
    const read = async (maxBodyBytes: number): Promise<number> => {
      const result = await client().stream({ destination: 'p.test', method: 'GET', path: PATH, maxBodyBytes });
      if (!result.ok) throw new Error(result.error);
      expect(result.headers['content-type']).to.equal('image/png');
      let size = 0;
      for await (const chunk of result.body) size += chunk.length;
      return size;
    };
    expect(await read(300_000)).to.equal(300_000);
    const error = await read(100_000).then(
      () => undefined,
      (reason: Error) => reason.message,
    );
    expect(error).to.match(/longer than 100000 bytes/);
  });

  it('who is away is left alone for ever longer, but found within 30 s after ten minutes', async () => {
    const path = federation.path('a.test', 'away.servers.test');
    federation.partner('away.servers.test').on('GET', PATH, () => ({ body: { back: true } }));
    path.cut();
    const before = path.attempts;
    expect(await outcome('away.servers.test')).to.equal('unreachable');
    expect(path.attempts).to.equal(before + 1);
    const all = await Promise.all(Array.from({ length: 50 }, () => outcome('away.servers.test')));
    expect(new Set(all)).to.deep.equal(new Set(['unreachable']));
    expect(path.attempts).to.equal(before + 1);
    const knock = async (seconds: number): Promise<number> => {
      const from = path.attempts;
      for (let at = 0; at < seconds; at += 1) {
        federation.clock.set(1_000);
        await outcome('away.servers.test');
      }
      return path.attempts - from;
    };
    expect(await knock(600)).to.be.below(80);
    path.heal();
    let waited = 0;
    while ((await outcome('away.servers.test')) === 'unreachable') {
      federation.clock.set(1_000);
      waited += 1;
    }
    expect(waited).to.be.at.most(30);
  });

  it('an unreachable server is tried at once after a contact, and sooner for urgent requests', async () => {
    const path = federation.path('a.test', 'away.servers.test');
    const partner = federation.partner('away.servers.test');
    path.cut();
    for (let at = 0; at < 60; at += 1) {
      await outcome('away.servers.test');
      federation.clock.set(60_000);
    }
    await outcome('away.servers.test');
    path.heal();
    federation.clock.set(11_000);
    expect(await outcome('away.servers.test')).to.equal('unreachable');
    expect(await outcome('away.servers.test', { isUrgent: true })).to.deep.equal({ back: true });
    path.cut();
    for (let at = 0; at < 60; at += 1) {
      await outcome('away.servers.test');
      federation.clock.set(60_000);
    }
    await outcome('away.servers.test');
    path.heal();
    federation.clock.set(5_000);
    federation.server('a.test').services.contacts.heardOf(partner.serverName);
    expect(await outcome('away.servers.test')).to.deep.equal({ back: true });
  });

  it('who has been away for long is not asked anew by every restart', async () => {
    const path = federation.path('a.test', 'away.servers.test');
    path.cut();
    for (let at = 0; at < 60; at += 1) {
      await outcome('away.servers.test');
      federation.clock.set(60_000);
    }
    await outcome('away.servers.test');
    await federation.clock.advance(10_000);
    const server = federation.server('a.test');
    await server.idle();
    await server.kill();
    await server.revive();
    const before = path.attempts;
    expect(await outcome('away.servers.test')).to.equal('unreachable');
    expect(path.attempts).to.equal(before);
    path.heal();
    federation.clock.set(5_000);
    server.services.contacts.heardOf('away.servers.test');
    expect(await outcome('away.servers.test')).to.deep.equal({ back: true });
    await federation.clock.advance(10_000);
    await server.restart();
    path.cut();
    await outcome('away.servers.test');
    expect(path.attempts).to.be.above(before);
    path.heal();
  });
});
