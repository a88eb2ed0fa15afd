import { expect } from 'chai';
import { sql } from '#src/storage/statement.ts';
import { deviceKeysOf, EncryptionServer, keyOf, type TestDevice } from './encryption-server.ts';

const COUNT = sql('test_one_time_keys_count', 'select count(*)::int as n from one_time_keys where user_id = $1');

describe('keys of devices', function () {
  this.timeout(60_000);
  let server: EncryptionServer;
  let alice: TestDevice;
  let bob: TestDevice;

  before(async () => {
    server = await EncryptionServer.start({ TSUDOI_E2EE__MAX_ONE_TIME_KEYS: '20' });
  });
  after(() => server.stop());
  beforeEach(async () => {
    alice = await server.register();
    bob = await server.register();
  });

  const upload = (device: TestDevice, body: object): ReturnType<EncryptionServer['ask']> =>
    server.ask(device, 'POST', '/keys/upload', body);
  const claim = (device: TestDevice, algorithm = 'signed_curve25519'): ReturnType<EncryptionServer['must']> =>
    server.must(bob, 'POST', '/keys/claim', {
      one_time_keys: { [device.userId]: { [device.deviceId]: algorithm } },
    });
  const signed = (key: string): object => ({ key, signatures: { [alice.userId]: { 'ed25519:X': 'sig' } } });

  it('are handed out as they were uploaded, with the display name of the device as of now', async () => {
    const keys = deviceKeysOf(alice, keyOf(1));
    await upload(alice, { device_keys: { ...keys, unsigned: { made_up: true } } });
    await server.must(alice, 'PUT', `/devices/${alice.deviceId}`, { display_name: '電話' });
    const { device_keys: found, failures } = await server.must(bob, 'POST', '/keys/query', {
      device_keys: { [alice.userId]: [] },
    });
    expect(found).to.deep.equal({
      [alice.userId]: { [alice.deviceId]: { ...keys, unsigned: { device_display_name: '電話' } } },
    });
    expect(failures).to.deep.equal({});
  });

  it('of named devices alone are handed out when the query names some', async () => {
    const other = await server.login(alice);
    await upload(alice, { device_keys: deviceKeysOf(alice, keyOf(1)) });
    await upload(other, { device_keys: deviceKeysOf(other, keyOf(2)) });
    const { device_keys: found } = await server.must(bob, 'POST', '/keys/query', {
      device_keys: { [alice.userId]: [other.deviceId, 'NONE'] },
    });
    expect(Object.keys(found[alice.userId])).to.deep.equal([other.deviceId]);
  });

  it('of users without any are an empty entry, also of users who do not exist', async () => {
    const { device_keys: found } = await server.must(bob, 'POST', '/keys/query', {
      device_keys: { [alice.userId]: [], '@nobody:localhost': [] },
    });
    expect(found).to.deep.equal({ [alice.userId]: {}, '@nobody:localhost': {} });
  });

  it('of thousands are read part by part, and all of them are in the answer', async () => {
    await upload(alice, { device_keys: deviceKeysOf(alice, keyOf(1)) });
    await upload(bob, { device_keys: deviceKeysOf(bob, keyOf(2)) });
    const nobody = Array.from({ length: 1_300 }, (_, index) => `@nobody${index}:localhost`);
    const wanted = [alice.userId, ...nobody, bob.userId];
    const { device_keys: found } = await server.must(bob, 'POST', '/keys/query', {
      device_keys: Object.fromEntries(wanted.map((userId) => [userId, []])),
    });
    expect(Object.keys(found).toSorted()).to.deep.equal(wanted.toSorted());
    expect(Object.keys(found[alice.userId])).to.deep.equal([alice.deviceId]);
    expect(Object.keys(found[bob.userId])).to.deep.equal([bob.deviceId]);
  });

  it('of a server that cannot be reached are a failure of that server, and the others are answered', async () => {
    await upload(alice, { device_keys: deviceKeysOf(alice, keyOf(1)) });
    const { device_keys: found, failures } = await server.must(bob, 'POST', '/keys/query', {
      device_keys: { [alice.userId]: [], '@remote:elsewhere.example': [] },
    });
    expect(Object.keys(found)).to.deep.equal([alice.userId]);
    expect(Object.keys(failures)).to.deep.equal(['elsewhere.example']);
  });

  it('go with their device', async () => {
    const other = await server.login(alice);
    await upload(other, {
      device_keys: deviceKeysOf(other, keyOf(2)),
      one_time_keys: { 'signed_curve25519:A': signed('k') },
    });
    await server.must(other, 'POST', '/logout', {});
    const { device_keys: found } = await server.must(bob, 'POST', '/keys/query', {
      device_keys: { [alice.userId]: [] },
    });
    expect(found[alice.userId]).to.deep.equal({});
    expect((await claim(other)).one_time_keys).to.deep.equal({});
  });

  it('are refused when they lack something or belong to another device', async () => {
    const keys = deviceKeysOf(alice, keyOf(1));
    for (const member of ['user_id', 'device_id', 'algorithms', 'keys', 'signatures']) {
      const { [member]: _left, ...rest } = keys;
      const { status, body } = await upload(alice, { device_keys: rest });
      expect([member, status, body.errcode]).to.deep.equal([member, 400, 'M_BAD_JSON']);
    }
    for (const wrong of [{ user_id: bob.userId }, { device_id: 'OTHER' }]) {
      const { status, body } = await upload(alice, { device_keys: { ...keys, ...wrong } });
      expect([status, body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
    }
  });

  it('are not handed out for a query that is none', async () => {
    for (const devices of [{}, 'D', null, [1]]) {
      const { status, body } = await server.ask(bob, 'POST', '/keys/query', {
        device_keys: { [alice.userId]: devices },
      });
      expect([status, body.errcode]).to.deep.equal([400, 'M_BAD_JSON']);
    }
  });

  it('for one time are claimed once each, in the order of the uploads, and the fallback key ever after', async () => {
    await upload(alice, { one_time_keys: { 'signed_curve25519:B': signed('1') } });
    await upload(alice, { one_time_keys: { 'signed_curve25519:A': signed('2') } });
    await upload(alice, { fallback_keys: { 'signed_curve25519:F': { ...signed('f'), fallback: true } } });
    const names: string[] = [];
    for (let count = 0; count < 4; count++) {
      const { one_time_keys: keys } = await claim(alice);
      names.push(...Object.keys(keys[alice.userId][alice.deviceId]));
    }
    expect(names).to.deep.equal([
      'signed_curve25519:B',
      'signed_curve25519:A',
      'signed_curve25519:F',
      'signed_curve25519:F',
    ]);
  });

  it('for one time are claimed once each by many who ask at once', async () => {
    const keys = Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`signed_curve25519:K${n}`, signed(`${n}`)]));
    await upload(alice, { one_time_keys: keys });
    const answers = await Promise.all(Array.from({ length: 30 }, () => claim(alice)));
    const names = answers.flatMap(({ one_time_keys: found }) =>
      Object.keys(found[alice.userId]?.[alice.deviceId] ?? {}),
    );
    expect(names.toSorted()).to.deep.equal(Object.keys(keys).toSorted());
  });

  it('of exhausted devices, other algorithms and unknown devices are missing from the answer', async () => {
    await upload(alice, { one_time_keys: { 'curve25519:A': 'plain' } });
    expect((await claim(alice)).one_time_keys).to.deep.equal({});
    expect((await claim({ ...alice, deviceId: 'NONE' })).one_time_keys).to.deep.equal({});
    expect((await claim(alice, 'curve25519')).one_time_keys).to.deep.equal({
      [alice.userId]: { [alice.deviceId]: { 'curve25519:A': 'plain' } },
    });
    expect((await claim(alice, 'curve25519')).one_time_keys).to.deep.equal({});
  });

  it('that are uploaded again change nothing; another key under a name that is taken is refused', async () => {
    const key = { 'signed_curve25519:A': { key: 'k', signatures: { [alice.userId]: { 'ed25519:X': 's' } } } };
    await upload(alice, { one_time_keys: key });
    const reordered = { signatures: key['signed_curve25519:A'].signatures, key: 'k' };
    const again = await upload(alice, { one_time_keys: { 'signed_curve25519:A': reordered } });
    expect([again.status, again.body.one_time_key_counts]).to.deep.equal([200, { signed_curve25519: 1 }]);
    const other = await upload(alice, { one_time_keys: { 'signed_curve25519:A': signed('other') } });
    expect([other.status, other.body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
  });

  it('that were claimed are not handed out again to who uploads them again, as clients do that lost an answer', async () => {
    const keys = Object.fromEntries(['A', 'B', 'C'].map((name) => [`signed_curve25519:${name}`, signed(name)]));
    await upload(alice, { one_time_keys: keys });
    const first = await claim(alice);
    expect(Object.keys(first.one_time_keys[alice.userId][alice.deviceId])).to.deep.equal(['signed_curve25519:A']);
    const again = await upload(alice, { one_time_keys: { ...keys, 'signed_curve25519:D': signed('D') } });
    expect([again.status, again.body.one_time_key_counts]).to.deep.equal([200, { signed_curve25519: 3 }]);
    const names: string[] = [];
    for (let count = 0; count < 4; count++) {
      const { one_time_keys: found } = await claim(alice);
      names.push(...Object.keys(found[alice.userId]?.[alice.deviceId] ?? {}));
    }
    expect(names).to.deep.equal(['B', 'C', 'D'].map((name) => `signed_curve25519:${name}`));
    // A client that begins anew may give its new keys the old names.
    const renewed = await upload(alice, { one_time_keys: { 'signed_curve25519:A': signed('new') } });
    expect([renewed.status, renewed.body.one_time_key_counts]).to.deep.equal([200, { signed_curve25519: 1 }]);
    const last = await claim(alice);
    expect(last.one_time_keys[alice.userId][alice.deviceId]['signed_curve25519:A'].key).to.equal('new');
  });

  it('that were claimed are remembered in a bounded number', async () => {
    for (let round = 0; round < 8; round++) {
      const names = Array.from({ length: 20 }, (_, n) => `signed_curve25519:R${round}N${n}`);
      await upload(alice, { one_time_keys: Object.fromEntries(names.map((name) => [name, signed(name)])) });
      await Promise.all(names.map(() => claim(alice)));
    }
    await upload(alice, { one_time_keys: { 'signed_curve25519:LAST': signed('last') } });
    const [row] = await server.database.query<{ n: number }>(COUNT, [alice.userId]);
    expect(row?.n).to.be.within(2, 101);
  });

  it('are bounded in number', async () => {
    const keys = Object.fromEntries(Array.from({ length: 21 }, (_, n) => [`signed_curve25519:K${n}`, signed(`${n}`)]));
    const { status, body } = await upload(alice, { one_time_keys: keys });
    expect([status, body.errcode]).to.deep.equal([413, 'M_TOO_LARGE']);
    expect((await upload(alice, {})).body.one_time_key_counts).to.deep.equal({ signed_curve25519: 0 });
  });

  it('are counted in every sync of the device, also when there are none', async () => {
    const first = await server.sync(alice);
    expect(first.device_one_time_keys_count).to.deep.equal({ signed_curve25519: 0 });
    expect(first.device_unused_fallback_key_types).to.deep.equal([]);
    expect(first['org.matrix.msc2732.device_unused_fallback_key_types']).to.deep.equal([]);
    await upload(alice, {
      one_time_keys: { 'signed_curve25519:A': signed('1') },
      fallback_keys: { 'signed_curve25519:F': { ...signed('f'), fallback: true } },
    });
    const second = await server.sync(alice, first.next_batch);
    expect(second.device_one_time_keys_count).to.deep.equal({ signed_curve25519: 1 });
    expect(second.device_unused_fallback_key_types).to.deep.equal(['signed_curve25519']);
    await claim(alice);
    await claim(alice);
    const third = await server.sync(alice, second.next_batch);
    expect(third.device_one_time_keys_count).to.deep.equal({ signed_curve25519: 0 });
    expect(third.device_unused_fallback_key_types).to.deep.equal([]);
  });

  it('that somebody claims wake the sync of the device that has fewer of them', async () => {
    await upload(alice, { one_time_keys: { 'signed_curve25519:A': signed('1') } });
    const { next_batch: since } = await server.sync(alice);
    const { next_batch: settled } = await server.sync(alice, since);
    const waiting = server.sync(alice, settled, 20_000);
    await claim(alice);
    expect((await waiting).device_one_time_keys_count).to.deep.equal({ signed_curve25519: 0 });
  });

  it('of a fallback that are uploaded again stay as used as they are; another one is unused', async () => {
    const fallback = (key: string): object => ({
      fallback_keys: { 'signed_curve25519:F': { ...signed(key), fallback: true } },
    });
    await upload(alice, fallback('f'));
    await claim(alice);
    await upload(alice, fallback('f'));
    expect((await server.sync(alice)).device_unused_fallback_key_types).to.deep.equal([]);
    await upload(alice, fallback('g'));
    expect((await server.sync(alice)).device_unused_fallback_key_types).to.deep.equal(['signed_curve25519']);
  });
});
