import { readFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { expect } from 'chai';
import { systemRandom } from '#src/kernel/random.ts';
import { signRequest } from '#src/protocol/signing/request-signature.ts';
import { generateSigningKey } from '#src/protocol/signing/signing-key.ts';
import { AUTHORITY_FILE, federationFetch } from '#test/support/federation/federation-fetch.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';

const ca = readFileSync(AUTHORITY_FILE);

describe('a client that pretends to be another server', () => {
  let federation: Federation;

  before(async () => {
    federation = await startFederation(['a.test'], {
      partners: ['p.test', 'q.test'],
      server: {
        rateLimits: {
          federation: { perSecond: 50, burst: 200 },
          unknown_server: { perSecond: 2, burst: 20 },
          refused: { perSecond: 100_000, burst: 100_000 },
        },
      },
    });
  });
  after(() => federation.stop());

  const TXN = '/_matrix/federation/v1/send/';
  const transaction = () => ({ origin: 'p.test', origin_server_ts: federation.clock.now(), pdus: [], edus: [] });

  /** A request with headers as they stand, several of one name too. */
  const raw = (
    target: string,
    authorizations: readonly string[],
    body: unknown,
    method = 'PUT',
  ): Promise<{ readonly status: number; readonly errcode: string }> =>
    new Promise((resolve, reject) => {
      const sent = httpsRequest(
        federation.urlOf('a.test'),
        {
          method,
          path: target,
          ca,
          servername: 'a.test',
          headers: { authorization: authorizations as unknown as string, 'content-type': 'application/json' },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('end', () => {
            const text = Buffer.concat(chunks).toString();
            resolve({
              status: response.statusCode ?? 0,
              errcode: text.startsWith('{') ? JSON.parse(text).errcode : '',
            });
          });
        },
      );
      sent.on('error', reject);
      sent.end(JSON.stringify(body));
    });

  const signed = (uri: string, content: object, name = 'p.test', key = federation.partner(name).signingKey): string =>
    signRequest({ method: 'PUT', uri, origin: name, destination: 'a.test', content: content as never }, key)
      .authorization;

  it('gets 401 for every forged header, and the real server is served', async () => {
    const content = transaction();
    const good = signed(`${TXN}1`, content);
    expect((await raw(`${TXN}1`, [good], content)).status).to.equal(200);
    const stranger = generateSigningKey((count) => systemRandom.bytes(count));
    const attempts: readonly (readonly [string, readonly string[], unknown])[] = [
      [`${TXN}2`, [good], content],
      [`${TXN}1?x=1`, [good], content],
      [`${TXN}%31`, [good], content],
      [`${TXN}1`, [good], { ...content, edus: [{}] }],
      [`${TXN}1`, [good, good.replace('p.test', 'q.test')], content],
      [`${TXN}1`, ['Bearer x'], content],
      [`${TXN}1`, [good.replace(/sig="[^"]*"/, 'sig=""')], content],
      [`${TXN}1`, [good.replace(/sig="[^"]*"/, `sig="${'A'.repeat(3_000)}"`)], content],
      [`${TXN}1`, [signed(`${TXN}1`, content, 'p.test', stranger)], content],
      [`${TXN}1`, [signed(`${TXN}1`, content, 'q.test').replace('q.test', 'p.test')], content],
    ];
    for (const [target, headers, body] of attempts) {
      const answer = await raw(target, headers, body);
      expect(answer, `${target} ${headers.join(' | ')}`.slice(0, 300)).to.deep.equal({
        status: 401,
        errcode: 'M_UNAUTHORIZED',
      });
    }
    // The target may come in the absolute form, which is not what is signed.
    expect((await raw(`https://a.test${TXN}1`, [good], content)).status).to.equal(200);
    expect((await raw(`${TXN}1`, [`${good},x="${'y'.repeat(40_000)}"`], content)).status).to.equal(431);
    expect((await raw(`${TXN}1`, [good], content)).status).to.equal(200);
  });

  it('makes this server ask only so many others, and keep only so much of them', async () => {
    const { federationClient, serverKeys } = federation.server('a.test').services;
    await federation.clock.advance(60_000);
    const asked: string[] = [];
    const { request } = federationClient;
    federationClient.request = async (wish) => {
      asked.push(wish.destination);
      return { ok: false, kind: 'unreachable', destination: wish.destination, error: 'Nobody is there.' };
    };
    const stranger = generateSigningKey((count) => systemRandom.bytes(count));
    const content = transaction();
    const statuses = new Map<number, number>();
    for (let n = 0; n < 150; n += 1) {
      const name = `n${n}.flood.test`;
      const { status } = await raw(`${TXN}1`, [signed(`${TXN}1`, content, name, stranger)], content);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
    expect(asked.length).to.equal(20);
    expect(Object.fromEntries(statuses)).to.deep.equal({ 401: 20, 429: 130 });
    asked.length = 0;
    const wanted = Array.from({ length: 500 }, (_, n) => ({
      serverName: `m${n}.flood.test`,
      keyId: 'ed25519:x',
      validAt: 0,
    }));
    for (let times = 0; times < 3; times += 1)
      expect(new Set(await serverKeys.keysOf(wanted))).to.deep.equal(new Set([undefined]));
    expect(asked.length).to.equal(500);
    federationClient.request = request;
  });

  it('cannot have one that is known asked for ever new keys', async () => {
    await federation.clock.advance(60_000);
    const partner = federation.partner('q.test');
    const content = transaction();
    expect((await raw(`${TXN}q`, [signed(`${TXN}q`, content, 'q.test')], content)).status).to.equal(200);
    const before = partner.asked.length;
    for (let n = 0; n < 15; n += 1) {
      const stranger = generateSigningKey((count) => systemRandom.bytes(count));
      const { status } = await raw(`${TXN}q`, [signed(`${TXN}q`, content, 'q.test', stranger)], content);
      expect(status).to.equal(401);
    }
    expect(partner.asked.length - before).to.be.at.most(1);
    expect((await raw(`${TXN}q`, [signed(`${TXN}q`, content, 'q.test')], content)).status).to.equal(200);
  });

  it('uses up the limits of where they come from, and not those of the server that they name', async () => {
    await federation.clock.advance(60_000);
    const content = transaction();
    const stranger = generateSigningKey((count) => systemRandom.bytes(count));
    const forged = signed(`${TXN}f`, content, 'p.test', stranger).replace(
      stranger.keyId,
      federation.partner('p.test').signingKey.keyId,
    );
    const statuses = new Set<number>();
    for (let n = 0; n < 250; n += 1) statuses.add((await raw(`${TXN}f`, [forged], content)).status);
    expect(statuses).to.deep.equal(new Set([401, 429]));
    const { rateLimiter } = federation.server('a.test').services;
    expect(rateLimiter.check('federation', 'p.test').ok).to.equal(true);
  });

  it('finds the door closed where this server does not federate, while its keys can be had', async () => {
    const closed = await startFederation(['b.test'], {
      partners: ['p.test'],
      server: { config: { federation: { enabled: false } } },
    });
    try {
      const partner = closed.partner('p.test');
      expect((await partner.transact('b.test', {})).status).to.equal(403);
      expect((await partner.send('b.test', 'GET', '/_matrix/federation/v1/version')).status).to.equal(403);
      expect((await federationFetch(closed.urlOf('b.test'), 'GET', '/_matrix/key/v2/server')).status).to.equal(200);
      const { federationClient } = closed.server('b.test').services;
      const result = await federationClient.request({ destination: 'p.test', method: 'GET', path: '/x' });
      expect(result).to.deep.include({ ok: false, kind: 'disabled' });
      expect(partner.asked).to.deep.equal([]);
    } finally {
      await closed.stop();
    }
  });
});
