import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { openRetiredKeys, openSigningKeys, rotateSigningKey } from '#src/app/ground/keys.ts';
import { systemRandom } from '#src/kernel/random.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { OwnKeys } from '#src/services/servers/keys/own-keys.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import { generateSigningKey, importVerifyKey } from '#src/protocol/signing/signing-key.ts';
import { signJson, verifyJson } from '#src/protocol/signing/json-signatures.ts';
import { federationFetch } from '#test/support/federation/federation-fetch.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import type { Answer, Json } from '../../../support/in-process-server.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { until } from '../../../support/until.ts';

describe('keys of servers', () => {
  let federation: Federation;

  before(async () => {
    federation = await startFederation(['a.test', 'b.test'], {
      partners: ['p.test', 'absurd', 'lies', 'away', 'expires', 'notary', 'gone', 'back'].map((name) =>
        name.includes('.') ? name : `${name}.servers.test`,
      ),
      servers: { 'b.test': { config: { federation: { keyServers: ['notary.servers.test'] } } } },
    });
  });
  after(() => federation.stop());

  it('are published as canonical JSON, signed by the server itself and nobody else, for the time to come', async () => {
    const { url } = federation.server('a.test');
    const text = await (await fetch(`${url}/_matrix/key/v2/server`)).text();
    const answer = JSON.parse(text);
    expect(text).to.equal(canonicalJson(answer));
    expect(answer.server_name).to.equal('a.test');
    expect(answer.valid_until_ts).to.be.above(federation.clock.now() + 3_600_000);
    expect(answer.old_verify_keys).to.deep.equal({});
    expect(Object.keys(answer.signatures)).to.deep.equal(['a.test']);
    const [keyId] = Object.keys(answer.verify_keys) as [string];
    const { key } = answer.verify_keys[keyId];
    expect(key).to.match(/^[A-Za-z0-9+/]{43}$/);
    expect(verifyJson(answer, 'a.test', keyId, importVerifyKey(key)!)).to.equal(true);
  });

  it('are fetched from the server by whoever needs them', async () => {
    const b = federation.server('b.test');
    const { services } = federation.server('a.test');
    const [key] = await services.serverKeys.keysOf([
      { serverName: 'b.test', keyId: keyIdOf(b.services.ownKeys.published()), validAt: federation.clock.now() },
    ]);
    expect(key).not.to.equal(undefined);
  });

  it('are not needed to ask for name and version', async () => {
    const { body, status } = await federationFetch(federation.urlOf('a.test'), 'GET', '/_matrix/federation/v1/version');
    expect(status).to.equal(200);
    expect(body.server.name).to.equal('Tsudoi');
  });

  const keyOf = async (serverName: string, keyId: string, validAt = federation.clock.now()): Promise<boolean> => {
    const { serverKeys } = federation.server('a.test').services;
    const [key] = await serverKeys.keysOf([{ serverName, keyId, validAt }]);
    return key !== undefined;
  };
  const query = async (serverKeys: unknown): Promise<Answer> =>
    federationFetch(federation.urlOf('a.test'), 'POST', '/_matrix/key/v2/query', {
      raw: JSON.stringify({ server_keys: serverKeys }),
    });
  const DAY = 24 * 3_600_000;

  it('are asked for once by however many want them at once, and are there after a restart without anybody being asked', async () => {
    const partner = federation.partner('p.test');
    const { keyId } = partner.signingKey;
    const all = await Promise.all(Array.from({ length: 200 }, () => keyOf('p.test', keyId)));
    expect(new Set(all)).to.deep.equal(new Set([true]));
    expect(partner.asked.length).to.equal(1);
    await federation.server('a.test').restart();
    expect(await keyOf('p.test', keyId)).to.equal(true);
    expect(partner.asked.length).to.equal(1);
  });

  it('that are used are renewed before they expire, and nobody waits for that', async () => {
    const partner = federation.partner('p.test');
    const { keyId } = partner.signingKey;
    const before = partner.asked.length;
    federation.clock.set(13 * 3_600_000);
    expect(await keyOf('p.test', keyId)).to.equal(true);
    await until('the renewal', () => partner.asked.length === before + 1);
    federation.clock.set(12 * 3_600_000);
    expect(await keyOf('p.test', keyId)).to.equal(true);
  });

  it('are valid for a week at most, whatever is said, and old ones until they were retired', async () => {
    const partner = federation.partner('absurd.servers.test');
    const old = generateSigningKey((count) => systemRandom.bytes(count));
    const now = federation.clock.now();
    const changes = {
      valid_until_ts: Number.MAX_SAFE_INTEGER,
      old_verify_keys: {
        [old.keyId]: { key: old.publicKey, expired_ts: now - DAY },
        'ed25519:future': { key: old.publicKey, expired_ts: Number.MAX_SAFE_INTEGER },
        'ed25519:nonsense': { key: 'AAAA', expired_ts: now },
        'ed25519:never': { key: old.publicKey },
      },
    };
    partner.on('GET', '/_matrix/key/v2/server', () => ({ body: partner.publishedKeys(changes) }));
    const { keyId } = partner.signingKey;
    expect(await keyOf('absurd.servers.test', keyId, now + 7 * DAY)).to.equal(true);
    expect(await keyOf('absurd.servers.test', keyId, now + 7 * DAY + 60_000)).to.equal(false);
    expect(await keyOf('absurd.servers.test', old.keyId, now - DAY)).to.equal(true);
    expect(await keyOf('absurd.servers.test', old.keyId, now - DAY + 1)).to.equal(false);
    expect(await keyOf('absurd.servers.test', 'ed25519:future', now)).to.equal(true);
    expect(await keyOf('absurd.servers.test', 'ed25519:future', now + 1)).to.equal(false);
    expect(await keyOf('absurd.servers.test', 'ed25519:nonsense', 0)).to.equal(false);
    expect(await keyOf('absurd.servers.test', 'ed25519:never', 0)).to.equal(false);
    expect(partner.asked.length).to.equal(1);
  });

  it('that a server says of another, or has not signed, are not believed', async () => {
    const partner = federation.partner('lies.servers.test');
    const { keyId } = partner.signingKey;
    const stranger = generateSigningKey((count) => systemRandom.bytes(count));
    const good = partner.publishedKeys();
    const bodies: unknown[] = [
      partner.publishedKeys({ server_name: 'b.test' }),
      { ...good, signatures: {} },
      { ...good, valid_until_ts: 5 },
      { ...good, verify_keys: { ...(good['verify_keys'] as object), [stranger.keyId]: { key: stranger.publicKey } } },
      partner.publishedKeys({ valid_until_ts: 'tomorrow' }),
      partner.publishedKeys({ verify_keys: [] }),
      partner.publishedKeys({ verify_keys: {} }),
      partner.publishedKeys({
        verify_keys: Object.fromEntries(
          Array.from({ length: 40 }, (_, n) => [
            n === 0 ? keyId : `ed25519:k${n}`,
            { key: partner.signingKey.publicKey },
          ]),
        ),
      }),
    ];
    for (const [index, body] of bodies.entries()) {
      partner.on('GET', '/_matrix/key/v2/server', () => ({ body }));
      expect(await keyOf('lies.servers.test', keyId), String(index)).to.equal(false);
      federation.clock.set(3_600_000);
      expect(partner.asked.length).to.equal(index + 1);
    }
  });

  it('of servers that do not answer are not asked for all the time', async () => {
    const path = federation.path('a.test', 'away.servers.test');
    path.cut();
    for (let at = 0; at < 100; at += 1) {
      expect(await keyOf('away.servers.test', 'ed25519:any')).to.equal(false);
      federation.clock.set(1_000);
    }
    expect(path.attempts).to.be.within(2, 4);
    path.heal();
  });

  it('of a server that is back are had as soon as it may be asked again, however often they were wanted before', async () => {
    const { serverName, signingKey } = federation.partner('back.servers.test');
    const path = federation.path('a.test', serverName);
    path.cut();
    const { federationClient } = federation.server('a.test').services;
    await federationClient.request({ destination: serverName, method: 'GET', path: '/_matrix/federation/v1/version' });
    path.heal();
    for (let count = 0; count < 5; count++) expect(await keyOf(serverName, signingKey.keyId)).to.equal(false);
    federation.clock.set(10_000);
    expect(await keyOf(serverName, signingKey.keyId)).to.equal(true);
  });

  it('are told to others with the signature of the server that was asked beside that of their own', async () => {
    const { serverName, signingKey } = federation.partner('p.test');
    const { body, status } = await query({
      'p.test': { [signingKey.keyId]: { minimum_valid_until_ts: 0 } },
      'b.test': {},
      'a.test': {},
    });
    expect(status).to.equal(200);
    const told = new Map<string, Json>(body.server_keys.map((answer: Json) => [answer.server_name, answer]));
    expect([...told.keys()]).to.have.members([serverName, 'b.test', 'a.test']);
    const own = JSON.parse(federation.server('a.test').services.ownKeys.published());
    const [ownId] = Object.keys(own.verify_keys) as [string];
    const ownKey = importVerifyKey(own.verify_keys[ownId].key)!;
    for (const answer of told.values()) {
      expect(verifyJson(answer, 'a.test', ownId, ownKey)).to.equal(true);
      expect(Object.keys(answer.signatures)).to.include(answer.server_name);
    }
    const single = await federationFetch(
      federation.urlOf('a.test'),
      'GET',
      `/_matrix/key/v2/query/p.test/${signingKey.keyId}`,
    );
    expect(single.body.server_keys.length).to.equal(1);
  });

  it('that have expired are told to others when there are no better ones, and good ones are kept from worse', async () => {
    const partner = federation.partner('expires.servers.test');
    const { keyId } = partner.signingKey;
    const until = federation.clock.now() + DAY;
    partner.on('GET', '/_matrix/key/v2/server', () => ({ body: partner.publishedKeys({ valid_until_ts: until }) }));
    const ask = async (minimum: number): Promise<Json[]> =>
      (await query({ 'expires.servers.test': { [keyId]: { minimum_valid_until_ts: minimum } } })).body.server_keys;
    expect((await ask(until)).map((answer) => answer.valid_until_ts)).to.deep.equal([until]);
    partner.on('GET', '/_matrix/key/v2/server', () => ({ body: partner.publishedKeys({ valid_until_ts: until - 5 }) }));
    federation.clock.set(60_000);
    expect((await ask(until + DAY)).map((answer) => answer.valid_until_ts)).to.deep.equal([until]);
    expect(partner.asked.length).to.equal(2);
    federation.path('a.test', 'expires.servers.test').cut();
    federation.clock.set(30 * DAY);
    expect((await ask(until + 31 * DAY)).map((answer) => answer.valid_until_ts)).to.deep.equal([until]);
  });

  it('cannot be asked for by names that are none, nor by the thousand', async () => {
    expect((await query({ 'not a name': {} })).status).to.equal(400);
    expect(
      (await query(Object.fromEntries(Array.from({ length: 201 }, (_, n) => [`n${n}.test`, {}])))).status,
    ).to.equal(413);
    expect((await query([])).status).to.equal(400);
    expect((await query({ 'p.test': { 'ed25519:x': { minimum_valid_until_ts: 'now' } } })).status).to.equal(400);
    expect((await query({})).body).to.deep.equal({ server_keys: [] });
  });

  it('are had from a key server where the server itself is away, if that one has signed them', async () => {
    const notary = federation.partner('notary.servers.test');
    const gone = federation.partner('gone.servers.test');
    federation.path('b.test', 'gone.servers.test').cut();
    const { serverKeys } = federation.server('b.test').services;
    const keyOfGone = async (): Promise<boolean> => {
      const validAt = federation.clock.now();
      const [key] = await serverKeys.keysOf([{ serverName: gone.serverName, keyId: gone.signingKey.keyId, validAt }]);
      return key !== undefined;
    };
    notary.on('POST', '/_matrix/key/v2/query', () => ({ body: { server_keys: [gone.publishedKeys()] } }));
    expect(await keyOfGone()).to.equal(false);
    const vouched = (answer: JsonObject): JsonObject => signJson(answer, notary.serverName, notary.signingKey);
    notary.on('POST', '/_matrix/key/v2/query', () => ({
      body: { server_keys: [vouched(federation.partner('p.test').publishedKeys()), vouched(gone.publishedKeys())] },
    }));
    expect(await keyOfGone()).to.equal(true);
    const before = notary.asked.length;
    expect(await keyOfGone()).to.equal(true);
    expect(notary.asked.length).to.equal(before);
    const another = generateSigningKey((count) => systemRandom.bytes(count));
    const forged = gone.publishedKeys({}, [{ ...another, keyId: gone.signingKey.keyId }]);
    notary.on('POST', '/_matrix/key/v2/query', () => ({ body: { server_keys: [vouched(forged)] } }));
    federation.clock.set(2 * DAY);
    expect(await keyOfGone()).to.equal(false);
  });
});

describe('the key of this server', () => {
  it('is replaced by a command, and what it signed stays verifiable', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-keys-'));
    try {
      const path = join(folder, 'signing.key');
      const [first] = await openSigningKeys(path, systemRandom);
      const second = await rotateSigningKey(path, systemRandom, 1_000);
      const third = await rotateSigningKey(path, systemRandom, 2_000);
      const signingKeys = await openSigningKeys(path, systemRandom);
      const retiredKeys = await openRetiredKeys(path);
      expect(signingKeys.map(({ keyId }) => keyId)).to.deep.equal([third.keyId]);
      const clock = new ManualClock();
      const own = new OwnKeys({ serverName: 'a.test', signingKeys, retiredKeys, clock });
      expect(JSON.parse(own.published()).old_verify_keys).to.deep.equal({
        [first.keyId]: { key: first.publicKey, expired_ts: 1_000 },
        [second.keyId]: { key: second.publicKey, expired_ts: 2_000 },
      });
      expect(own.verifyKey(first.keyId, 1_000)?.bytes).to.deep.equal(importVerifyKey(first.publicKey)?.bytes);
      expect(own.verifyKey(first.keyId, 1_001)).to.equal(undefined);
      expect(own.verifyKey(third.keyId, clock.now())?.bytes).to.deep.equal(importVerifyKey(third.publicKey)?.bytes);
      await writeFile(`${path}.retired`, 'ed25519 broken\n');
      const fault = await openRetiredKeys(path).then(
        () => '',
        (error: Error) => error.message,
      );
      expect(fault).to.include('Line 1');
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

const keyIdOf = (published: string): string => Object.keys(JSON.parse(published).verify_keys)[0] ?? '';
