import { expect } from 'chai';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import type { InProcessServer, Json } from '../../../support/in-process-server.ts';
import type { RemotePartner } from '#test/support/federation/remote-partner.ts';
import { generateSigningKey, type SigningKey } from '#src/protocol/signing/signing-key.ts';
import { signJson } from '#src/protocol/signing/json-signatures.ts';
import { systemRandom } from '#src/kernel/random.ts';

const QUERY = '/_matrix/federation/v1/user/keys/query';
const CLAIM = '/_matrix/federation/v1/user/keys/claim';

const deviceKeys = (userId: string, deviceId: string): Json => ({
  user_id: userId,
  device_id: deviceId,
  algorithms: ['m.olm.v1.curve25519-aes-sha2'],
  keys: { [`ed25519:${deviceId}`]: 'a'.repeat(43), [`curve25519:${deviceId}`]: 'b'.repeat(43) },
  signatures: { [userId]: { [`ed25519:${deviceId}`]: 'c'.repeat(86) } },
});

const newKey = (): SigningKey => {
  const key = generateSigningKey((count) => systemRandom.bytes(count));
  return { ...key, keyId: `ed25519:${key.publicKey}` };
};

const crossSigningKey = (userId: string, usage: string, key: SigningKey, by?: SigningKey): Json => {
  const content = { user_id: userId, usage: [usage], keys: { [key.keyId]: key.publicKey } };
  return by === undefined ? content : signJson(content, userId, by);
};

describe("keys of other servers' users", function () {
  this.timeout(120_000);
  let federation: Federation;
  let a: InProcessServer;
  let b: InProcessServer;
  let partner: RemotePartner;

  before(async () => {
    federation = await startFederation(['a.test', 'b.test'], { partners: ['p.test', 'q.test'] });
    a = federation.server('a.test');
    b = federation.server('b.test');
    partner = federation.partner('p.test');
  });
  after(() => federation?.stop());

  const query = (wanted: object, more: object = {}): Promise<Json> =>
    a.must('alice', 'POST', '/keys/query', { device_keys: wanted, ...more });
  const claim = (wanted: object): Promise<Json> => a.must('alice', 'POST', '/keys/claim', { one_time_keys: wanted });

  it('are what their own server has, with the names of devices and the keys that others may see', async () => {
    const bob = await b.session('bob');
    const [master, selfSigning, userSigning] = [newKey(), newKey(), newKey()];
    const keys = deviceKeys(bob.userId, bob.deviceId);
    await b.must('bob', 'POST', '/keys/upload', { device_keys: keys });
    await b.must('bob', 'PUT', `/devices/${bob.deviceId}`, { display_name: 'Phone' });
    await b.must('bob', 'POST', '/keys/device_signing/upload', {
      master_key: crossSigningKey(bob.userId, 'master', master),
      self_signing_key: crossSigningKey(bob.userId, 'self_signing', selfSigning, master),
      user_signing_key: crossSigningKey(bob.userId, 'user_signing', userSigning, master),
    });
    const found = await query({ [bob.userId]: [], '@nobody:b.test': [] });
    expect(found.device_keys).to.deep.equal({
      [bob.userId]: { [bob.deviceId]: { ...keys, unsigned: { device_display_name: 'Phone' } } },
      '@nobody:b.test': {},
    });
    expect(Object.keys(found.master_keys)).to.deep.equal([bob.userId]);
    expect(Object.keys(found.self_signing_keys)).to.deep.equal([bob.userId]);
    expect([found.user_signing_keys, found.failures]).to.deep.equal([{}, {}]);
    expect((await query({ [bob.userId]: ['OTHER'] })).device_keys).to.deep.equal({ [bob.userId]: {} });
  });

  it('are claimed once each through their server', async () => {
    const bob = await b.session('bob');
    await b.must('bob', 'POST', '/keys/upload', {
      one_time_keys: { 'signed_curve25519:A': { key: 'x', signatures: {} } },
    });
    const wanted = { [bob.userId]: { [bob.deviceId]: 'signed_curve25519' } };
    expect((await claim(wanted)).one_time_keys).to.deep.equal({
      [bob.userId]: { [bob.deviceId]: { 'signed_curve25519:A': { key: 'x', signatures: {} } } },
    });
    expect(await claim(wanted)).to.deep.equal({ one_time_keys: {}, failures: {} });
  });

  it('come from the servers that answer, and for the others it is said why they do not', async () => {
    await a.must('alice', 'POST', '/keys/upload', { device_keys: deviceKeys('@alice:a.test', 'DEVICE') });
    partner.on('POST', QUERY, () => ({ status: 500, body: {} }));
    const found = await query({ '@alice:a.test': [], '@x:p.test': [], '@bob:b.test': [], '@y:q.test': [] });
    expect(Object.keys(found.device_keys).toSorted()).to.deep.equal(['@alice:a.test', '@bob:b.test']);
    expect(Object.keys(found.failures).toSorted()).to.deep.equal(['p.test', 'q.test']);
    expect(found.failures['p.test']).to.have.property('error');
  });

  it('are waited for only as long as the client says', async () => {
    partner.on('POST', QUERY, () => new Promise(() => undefined));
    const answer = query({ '@slow:p.test': [], '@bob:b.test': [] }, { timeout: 2_000 });
    await partner.request('POST', /keys\/query$/, ({ body }) => '@slow:p.test' in body.device_keys);
    await federation.clock.runDueUntil(federation.clock.advance(2_100));
    const { device_keys: found, failures } = await answer;
    expect(Object.keys(found)).to.deep.equal(['@bob:b.test']);
    expect(failures['p.test'].errcode).to.equal('M_CONNECTION_TIMEOUT');
  });

  it('are looked up here for all servers together: forty of them cost no more statements than one', async () => {
    const of = (count: number): object =>
      Object.fromEntries(Array.from({ length: count }, (_, server) => [`@x:10.0.0.${server}`, []]));
    const cost = (count: number): Promise<number> =>
      a.statements(async () => {
        expect(Object.keys((await query(of(count))).failures)).to.have.lengthOf(count);
      });
    // What is noted of servers that cannot be reached, is noted by now.
    await query(of(40));
    await federation.idle();
    expect(await cost(40)).to.be.within(1, await cost(1));
  });

  it('are believed of no users but those that were asked for, and in no form but the right one', async () => {
    const good = deviceKeys('@x:p.test', 'GOOD');
    const master = newKey();
    partner.on('POST', QUERY, () => ({
      body: {
        device_keys: {
          '@x:p.test': {
            GOOD: { ...good, unsigned: { device_display_name: 'ok', evil: true } },
            LIAR: good,
            BARE: { user_id: '@x:p.test', device_id: 'BARE' },
            TEXT: 'keys',
          },
          '@alice:a.test': { DEVICE: deviceKeys('@alice:a.test', 'DEVICE') },
          '@other:p.test': { D: deviceKeys('@other:p.test', 'D') },
        },
        master_keys: {
          '@x:p.test': crossSigningKey('@x:p.test', 'master', master),
          '@alice:a.test': crossSigningKey('@alice:a.test', 'master', master),
        },
        self_signing_keys: { '@x:p.test': crossSigningKey('@x:p.test', 'master', master) },
        user_signing_keys: { '@x:p.test': crossSigningKey('@x:p.test', 'user_signing', master) },
      },
    }));
    expect(await query({ '@x:p.test': [] })).to.deep.equal({
      device_keys: { '@x:p.test': { GOOD: { ...good, unsigned: { device_display_name: 'ok' } } } },
      master_keys: { '@x:p.test': crossSigningKey('@x:p.test', 'master', master) },
      self_signing_keys: {},
      user_signing_keys: {},
      failures: {},
    });
    partner.on('POST', CLAIM, () => ({
      body: {
        one_time_keys: {
          '@x:p.test': {
            GOOD: {
              'signed_curve25519:1': { key: 'k', signatures: {} },
              'signed_curve25519:2': { key: 'l', signatures: {} },
            },
            OTHER: { 'signed_curve25519:3': { key: 'm', signatures: {} } },
            WRONG: { 'curve25519:4': 'n' },
          },
          '@alice:a.test': { DEVICE: { 'signed_curve25519:5': { key: 'o', signatures: {} } } },
        },
      },
    }));
    const wanted = { '@x:p.test': { GOOD: 'signed_curve25519', WRONG: 'signed_curve25519' } };
    expect((await claim(wanted)).one_time_keys).to.deep.equal({
      '@x:p.test': { GOOD: { 'signed_curve25519:1': { key: 'k', signatures: {} } } },
    });
  });

  it('of users who are in a room with ours are here, whether their server can be reached or not', async () => {
    const bob = await b.session('bob');
    const roomId = await a.room('alice', { preset: 'public_chat' });
    await b.must('bob', 'POST', `/join/${encodeURIComponent(roomId)}?via=a.test`, {});
    await federation.idle();
    const before = await query({ [bob.userId]: [] });
    expect(Object.keys(before.device_keys[bob.userId])).to.deep.equal([bob.deviceId]);
    federation.cut('a.test', 'b.test');
    try {
      expect(await query({ [bob.userId]: [] })).to.deep.equal(before);
      expect((await query({ [bob.userId]: ['OTHER'] })).device_keys).to.deep.equal({ [bob.userId]: {} });
    } finally {
      federation.heal('a.test', 'b.test');
    }
  });

  it('are no way to have a thousand servers asked by one request', async () => {
    const wanted = Object.fromEntries(Array.from({ length: 600 }, (_, at) => [`@x:s${at}.example`, []]));
    const { status, body } = await a.ask('alice', 'POST', '/keys/query', { device_keys: wanted });
    expect([status, body.errcode]).to.deep.equal([413, 'M_TOO_LARGE']);
  });

  it('are asked of sixteen servers at once, and what these answer is held within one budget until the request is answered', async () => {
    const { federationClient } = a.services;
    const request = federationClient.request.bind(federationClient);
    let atOnce = 0;
    let most = 0;
    const held: number[] = [];
    federationClient.request = async (wish) => {
      atOnce += 1;
      most = Math.max(most, atOnce);
      held.push(wish.held?.most ?? Infinity);
      try {
        return await request(wish);
      } finally {
        atOnce -= 1;
      }
    };
    try {
      const wanted = Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`@x:10.1.0.${at}`, []]));
      expect(Object.keys((await query(wanted)).failures)).to.have.lengthOf(100);
    } finally {
      federationClient.request = request;
    }
    expect(most).to.equal(16);
    expect(Math.max(...held)).to.equal(16 * 1024 * 1024);
  });

  it('are not believed where they are a megabyte for each user and more, or come in many pieces', async () => {
    partner.on('POST', QUERY, ({ body, response }) => {
      const [user] = Object.keys(body.device_keys) as [string];
      if (user === '@pieces:p.test') {
        response.writeHead(200, { 'content-type': 'application/json' });
        const drip = (left: number): void => {
          if (left === 0) response.end('{}');
          else response.write(' ', () => setImmediate(() => drip(left - 1)));
        };
        drip(2_000);
        return undefined;
      }
      return { body: { device_keys: {}, more: 'x'.repeat(user === '@large:p.test' ? 1_100_000 : 900_000) } };
    });
    const failed = async (user: string): Promise<boolean> =>
      Object.keys((await query({ [user]: [] })).failures).length > 0;
    expect([await failed('@medium:p.test'), await failed('@large:p.test')]).to.deep.equal([false, true]);
    expect(await failed('@pieces:p.test')).to.equal(true);
    const body = await a.metrics.render();
    expect(body).to.match(/^tsudoi_federation_answer_bytes 0$/m);
  });

  it('that vouch for a user are signed by users of this server, who alone see that', async () => {
    const alice = await a.session('alice');
    const [master, selfSigning, userSigning] = [newKey(), newKey(), newKey()];
    await a.must('alice', 'POST', '/keys/device_signing/upload', {
      master_key: crossSigningKey(alice.userId, 'master', master),
      self_signing_key: crossSigningKey(alice.userId, 'self_signing', selfSigning, master),
      user_signing_key: crossSigningKey(alice.userId, 'user_signing', userSigning, master),
    });
    const theirs = (await query({ '@bob:b.test': [] })).master_keys['@bob:b.test'];
    const [target] = Object.values(theirs.keys) as [string];
    const signed = signJson(theirs, alice.userId, userSigning);
    const { failures } = await a.must('alice', 'POST', '/keys/signatures/upload', {
      '@bob:b.test': { [target]: signed },
    });
    expect(failures).to.deep.equal({});
    const seen = (await query({ '@bob:b.test': [] })).master_keys['@bob:b.test'];
    expect(seen.signatures[alice.userId]).to.deep.equal((signed as Json).signatures[alice.userId]);
    const others = await a.must('carol', 'POST', '/keys/query', { device_keys: { '@bob:b.test': [] } });
    expect(others.master_keys['@bob:b.test'].signatures?.[alice.userId]).to.equal(undefined);
    // Not a key that the other server does not tell of.
    const forged = signJson({ ...theirs, keys: { 'ed25519:x': 'x' } }, alice.userId, userSigning);
    const refused = await a.must('alice', 'POST', '/keys/signatures/upload', { '@bob:b.test': { [target]: forged } });
    expect(refused.failures['@bob:b.test'][target].errcode).to.equal('M_INVALID_SIGNATURE');
  });

  it('are handed to other servers as far as they are of users of this one, and everybody may see them', async () => {
    const answer = await partner.send('a.test', 'POST', QUERY, {
      device_keys: { '@alice:a.test': [], '@bob:b.test': [], 'no user': [] },
    });
    expect(answer.status).to.equal(200);
    expect(Object.keys(answer.body.device_keys)).to.deep.equal(['@alice:a.test']);
    expect(answer.body).to.have.all.keys('device_keys', 'master_keys', 'self_signing_keys');
    const claimed = await partner.send('a.test', 'POST', CLAIM, {
      one_time_keys: { '@bob:b.test': { DEVICE: 'signed_curve25519' } },
    });
    expect([claimed.status, claimed.body]).to.deep.equal([200, { one_time_keys: {} }]);
    for (const body of [{ device_keys: [] }, { device_keys: { '@alice:a.test': {} } }, {}])
      expect((await partner.send('a.test', 'POST', QUERY, body)).status).to.equal(400);
  });

  it('are claimed by other servers once each, then the fallback key again and again, as the owner is told', async () => {
    const zoe = await a.session('zoe');
    const signed = (key: string): Json => ({ key, signatures: { [zoe.userId]: { 'ed25519:DEVICE': 'c'.repeat(86) } } });
    await a.must('zoe', 'POST', '/keys/upload', {
      device_keys: deviceKeys(zoe.userId, zoe.deviceId),
      one_time_keys: { 'signed_curve25519:1': signed('one'), 'signed_curve25519:2': signed('two') },
      fallback_keys: { 'signed_curve25519:F': { ...signed('last'), fallback: true } },
    });
    const claimBy = async (server: string, userId = zoe.userId): Promise<Json> =>
      (
        await federation.partner(server).send('a.test', 'POST', CLAIM, {
          one_time_keys: { [userId]: { [zoe.deviceId]: 'signed_curve25519', NONE: 'signed_curve25519' } },
        })
      ).body.one_time_keys;
    const given = [];
    for (const server of ['p.test', 'q.test', 'p.test', 'q.test'])
      given.push(...Object.keys((await claimBy(server))[zoe.userId][zoe.deviceId]));
    expect(given).to.deep.equal(['1', '2', 'F', 'F'].map((id) => `signed_curve25519:${id}`));
    expect(await claimBy('p.test', '@nobody:a.test')).to.deep.equal({});
    const sync = await a.must('zoe', 'GET', '/sync');
    expect(sync.device_one_time_keys_count.signed_curve25519).to.equal(0);
    expect(sync.device_unused_fallback_key_types).to.deep.equal([]);
  });
});
