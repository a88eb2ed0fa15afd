import { expect } from 'chai';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { systemRandom } from '#src/kernel/random.ts';
import { LARGE_JSON } from '#src/protocol/json/parse-in-pieces.ts';
import { generateSigningKey, type SigningKey } from '#src/protocol/signing/signing-key.ts';
import { type RequestToSign, signRequest } from '#src/protocol/signing/request-signature.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';

const PATH = '/_matrix/federation/v1/anything';

describe('a request of another server', () => {
  let federation: Federation;

  before(async () => {
    federation = await startFederation(['a.test'], {
      partners: ['p.test', 'q.test', 'denied.servers.test', 'rotates.servers.test', 'expires.servers.test'],
      server: { config: { federation: { deny: ['denied.*'] } } },
    });
  });
  after(() => federation.stop());

  const signedBy = (name: string, changes: Partial<RequestToSign & { destination: string }> = {}): string => {
    const { serverName, signingKey } = federation.partner(name);
    const request = {
      method: 'PUT',
      uri: PATH,
      origin: serverName,
      destination: 'a.test',
      content: { a: 1 },
      ...changes,
    };
    return signRequest(request, signingKey).authorization;
  };

  /** For each body that was received, whether it was of a server that had proved itself. */
  const asFamiliar: boolean[] = [];

  /** What becomes of a request with these headers: the origin, or the errcode. */
  const verdict = async (
    authorizations: readonly string[],
    request: { method?: string; target?: string; json?: unknown; network?: string } = {},
  ): Promise<string> => {
    const { requestAuthenticator } = federation.server('a.test').services;
    try {
      const { json, ...head } = { method: 'PUT', target: PATH, json: { a: 1 } as unknown, ...request };
      const bytes = Buffer.from(json === undefined ? '' : JSON.stringify(json));
      const body = async (isFamiliar: boolean): Promise<{ bytes: Buffer; json: unknown }> => {
        asFamiliar.push(isFamiliar);
        return { bytes, json: bytes.length < LARGE_JSON ? json : undefined };
      };
      const whole = { network: '192.0.2.1', ...head, authorizations, body };
      return (await requestAuthenticator.authenticate(whole)).serverName;
    } catch (error) {
      if (error instanceof MatrixError) return `${error.status} ${error.errcode}`;
      throw error;
    }
  };

  it('is known by its signature over method, target, body and both servers', async () => {
    const good = signedBy('p.test');
    expect(await verdict([good])).to.equal('p.test');
    const changed = await Promise.all([
      verdict([good], { method: 'POST' }),
      verdict([good], { target: `${PATH}?a=1` }),
      verdict([good], { target: '/_matrix/federation/v1/another' }),
      verdict([good], { json: { a: 2 } }),
      verdict([good], { json: undefined }),
      verdict([good], { json: [] }),
    ]);
    expect(new Set(changed)).to.deep.equal(new Set(['401 M_UNAUTHORIZED']));
  });

  it('is known by that too where its body is large, in its canonical form or in another', async () => {
    const content = { z: 'x'.repeat(LARGE_JSON), a: [1, 2.5, { c: '\u0000é', b: {} }] };
    const good = signedBy('p.test', { content });
    expect(await verdict([good], { json: content })).to.equal('p.test');
    expect(await verdict([good], { json: { a: content.a, z: content.z } })).to.equal('p.test');
    expect(await verdict([good], { json: { ...content, a: [1] } })).to.equal('401 M_UNAUTHORIZED');
    expect(await verdict([good], { json: content, method: 'POST' })).to.equal('401 M_UNAUTHORIZED');
  });

  it('has its body read when its headers are right, as one of a server that has proved itself from the same network or not', async () => {
    const good = signedBy('p.test');
    const forged = good.replace(/sig="..../, 'sig="AAAA');
    const network = '198.51.100.7';
    asFamiliar.length = 0;
    await verdict([forged], { network });
    await verdict([good.replace('destination="a.test"', 'destination="b.test"')], { network });
    await verdict([], { network });
    expect(asFamiliar).to.deep.equal([false]);
    expect(await verdict([good], { network })).to.equal('p.test');
    await verdict([forged], { network });
    await verdict([forged], { network: '198.51.100.8' });
    await verdict([signedBy('q.test')], { network });
    expect(asFamiliar).to.deep.equal([false, false, true, false, false]);
  });

  it('may have no body, or one with numbers that only old room versions know', async () => {
    expect(
      await verdict([signedBy('p.test', { content: undefined, method: 'GET' })], { method: 'GET', json: undefined }),
    ).to.equal('p.test');
    const content = { pdus: [{ depth: 1.5, text: '\ud800', large: 1e21 }] };
    expect(await verdict([signedBy('p.test', { content })], { json: content })).to.equal('p.test');
  });

  it('is refused when it is meant for another server, also where only the header says so', async () => {
    expect(await verdict([signedBy('p.test', { destination: 'b.test' })])).to.equal('401 M_UNAUTHORIZED');
    const forged = signedBy('p.test').replace('destination="a.test"', 'destination="b.test"');
    expect(await verdict([forged])).to.equal('401 M_UNAUTHORIZED');
    expect(await verdict([signedBy('p.test', { destination: 'b.test' }).replace('b.test', 'a.test')])).to.equal(
      '401 M_UNAUTHORIZED',
    );
  });

  it('of a server that is older than the destination in the header names none', async () => {
    const { serverName, signingKey } = federation.partner('p.test');
    const old = { method: 'PUT', uri: PATH, origin: serverName, content: { a: 1 } };
    const { authorization } = signRequest({ ...old, destination: undefined } as never, signingKey);
    expect(await verdict([authorization.replace(/destination="[^"]*",/, '')])).to.equal('p.test');
    expect(await verdict([signedBy('p.test').replace(/destination="[^"]*",/, '')])).to.equal('401 M_UNAUTHORIZED');
  });

  it('is refused without a signature, or with a header that says nothing or two things', async () => {
    const good = signedBy('p.test');
    const [, signature = ''] = /sig="([^"]*)"/.exec(good) ?? [];
    for (const headers of [
      [],
      ['Bearer token'],
      ['X-Matrix'],
      ['X-Matrix origin="p.test"'],
      [good.replace('origin="p.test"', 'origin="p.test",origin="q.test"')],
      [`${good},sig="${signature}"`],
      [good.replace('origin="p.test"', 'origin="p.test')],
      [good.replace('ed25519:', 'rsa:')],
      [good.replace('p.test', '__proto__')],
      [good.replace('p.test', 'pü.test')],
      [good.replace('p.test', 'a.test')],
      [`${good}${','.repeat(5_000)}`],
      [`${good},x="${'y'.repeat(5_000)}"`],
      [good, signedBy('q.test')],
      Array.from({ length: 9 }, () => good),
    ])
      expect(await verdict(headers), headers.join(' and ').slice(0, 200)).to.equal('401 M_UNAUTHORIZED');
  });

  it('may write its header in any way that the specification allows', async () => {
    const good = signedBy('p.test');
    const parameters = Object.fromEntries(
      [...good.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name, value]),
    );
    const { destination, key, origin, sig } = parameters;
    for (const header of [
      `x-matrix   SIG="${sig}" ,\tKey="${key}",Destination=${destination},origin=${origin}`,
      `X-Matrix origin=p.test,destination="a.test",key=${key},sig="${sig}",unknown="\\"quoted, and more\\""`,
      `X-Matrix origin="\\p.test", destination="a\\.test", key="${key}", sig="${sig}"`,
      `X-Matrix ,origin="p.test",,destination="a.test",key="${key}",sig="${sig}",`,
      `X-Matrix origin = "p.test",destination = "a.test",key = "${key}",sig = "${sig}"`,
    ])
      expect(await verdict([header]), header).to.equal('p.test');
  });

  it('may have several signatures, of which those by keys that are not known are passed over, and none is wrong', async () => {
    const good = signedBy('p.test');
    const { signingKey } = federation.partner('p.test');
    const stranger = generateSigningKey((count) => systemRandom.bytes(count));
    const request = { method: 'PUT', uri: PATH, origin: 'p.test', destination: 'a.test', content: { a: 1 } };
    const { authorization: unknown } = signRequest(request, stranger);
    expect(await verdict([good, unknown])).to.equal('p.test');
    expect(await verdict([unknown, good])).to.equal('p.test');
    expect(await verdict([unknown])).to.equal('401 M_UNAUTHORIZED');
    const wrong = unknown.replace(stranger.keyId, signingKey.keyId);
    expect(await verdict([wrong])).to.equal('401 M_UNAUTHORIZED');
    expect(await verdict([good, wrong])).to.equal('401 M_UNAUTHORIZED');
  });

  it('of a server that the operator denies is refused without anybody being asked', async () => {
    expect(await verdict([signedBy('denied.servers.test')])).to.equal('403 M_FORBIDDEN');
    expect(federation.partner('denied.servers.test').asked).to.deep.equal([]);
  });

  it('is believed when it is signed by a key that is new, as soon as it is not too early to ask for it', async () => {
    const partner = federation.partner('rotates.servers.test');
    expect(await verdict([signedBy('rotates.servers.test')])).to.equal('rotates.servers.test');
    const fresh = generateSigningKey((count) => systemRandom.bytes(count));
    partner.on('GET', '/_matrix/key/v2/server', () => ({ body: partner.publishedKeys({}, [fresh]) }));
    const sign = (key: SigningKey): string =>
      signRequest(
        { method: 'PUT', uri: PATH, origin: partner.serverName, destination: 'a.test', content: { a: 1 } },
        key,
      ).authorization;
    await Promise.all(Array.from({ length: 20 }, async () => verdict([sign(fresh)])));
    expect(partner.asked.length).to.equal(1);
    federation.clock.set(10_000);
    expect(await verdict([sign(fresh)])).to.equal('rotates.servers.test');
    expect(partner.asked.length).to.equal(2);
  });

  it('is refused when its key has expired, and nobody says that it is valid for longer', async () => {
    const partner = federation.partner('expires.servers.test');
    expect(await verdict([signedBy('expires.servers.test')])).to.equal('expires.servers.test');
    federation.path('a.test', 'expires.servers.test').cut();
    federation.clock.set(24 * 3_600_000 + 1);
    expect(await verdict([signedBy('expires.servers.test')])).to.equal('401 M_UNAUTHORIZED');
    federation.path('a.test', 'expires.servers.test').heal();
    federation.clock.set(60_000);
    expect(await verdict([signedBy('expires.servers.test')])).to.equal('expires.servers.test');
    expect(partner.asked.length).to.equal(2);
  });
});
