import { expect } from 'chai';
import { decodeSyncToken, shardOfName } from '#src/protocol/wire/position.ts';
import { sql } from '#src/storage/database.ts';
import { EncryptionServer, type TestDevice } from '#test/integration/e2ee/encryption-server.ts';

const MANY_CHANGES = sql(
  'test_many_profile_changes',
  "insert into profile_changes (user_id, field, pos) select $1, 'many' || n, $2 from generate_series(1, 6000) n",
);
const USERS = 'org.matrix.msc4429.users';
const STATUS = 'org.matrix.msc4426.status';

// What a test expects in a body it says itself.
// oxlint-disable-next-line typescript/no-explicit-any
type Json = any;

/** Loads members lazily. */
const LAZY = { room: { state: { lazy_load_members: true } } };

describe('profiles in /sync', function () {
  this.timeout(120_000);
  let server: EncryptionServer;
  let alice: TestDevice;
  let bob: TestDevice;
  let txns = 0;

  before(async () => {
    server = await EncryptionServer.start();
  });
  after(() => server.stop());
  beforeEach(async () => {
    alice = await server.register();
    bob = await server.register();
    await set(bob, 'displayname', 'ボブ');
    await set(bob, STATUS, { text: '泳いでいます', emoji: '🏊️' });
  });

  const set = (device: TestDevice, field: string, value: unknown): Promise<Json> =>
    server.must(device, 'PUT', `/profile/${device.userId}/${field}`, { [field]: value });
  const remove = (device: TestDevice, field: string): Promise<Json> =>
    server.must(device, 'DELETE', `/profile/${device.userId}/${field}`);
  const say = (device: TestDevice, room: string): Promise<Json> =>
    server.must(device, 'PUT', `/rooms/${room}/send/m.room.message/p${(txns += 1)}`, { msgtype: 'm.text', body: 'x' });
  const leave = (device: TestDevice, room: string): Promise<Json> =>
    server.must(device, 'POST', `/rooms/${room}/leave`, {});
  const sync = (
    since?: string,
    { fields = [STATUS], more = {}, timeout = 0, fullState = false }: Json = {},
    device = alice,
  ): Promise<Json> => {
    const filter = JSON.stringify({ 'org.matrix.msc4429.profile_fields': { ids: fields }, ...more });
    const query = `filter=${encodeURIComponent(filter)}&timeout=${timeout}&full_state=${fullState}`;
    return server.must(device, 'GET', `/sync?${query}${since === undefined ? '' : `&since=${since}`}`);
  };
  /** Waits until nothing is under way, and syncs. */
  const next = async (since: string, how: Json = {}): Promise<Json> => {
    await server.idle();
    return sync(since, how);
  };
  /** Waits for an answer that has some: others may come before. */
  const nextUpdates = async (since: string): Promise<Json> => {
    for (;;) {
      const body = await sync(since, { timeout: 60_000 });
      if (body[USERS] !== undefined) return body;
      since = body.next_batch;
    }
  };
  const updates = (body: Json): Json =>
    Object.fromEntries(Object.entries(body[USERS] ?? {}).map(([userId, one]: Json) => [userId, one.profile_updates]));

  it('are told to who asks for fields, and of these fields alone', async () => {
    await server.room(alice, bob);
    expect(updates(await sync())).to.deep.equal({ [bob.userId]: { [STATUS]: { text: '泳いでいます', emoji: '🏊️' } } });
    expect(updates(await sync(undefined, { fields: ['displayname', 'm.tz'] }))[bob.userId]).to.deep.equal({
      displayname: 'ボブ',
    });
    expect(await sync(undefined, { fields: [] })).not.to.have.property(USERS);
    expect(await server.must(alice, 'GET', '/sync')).not.to.have.property(USERS);
  });

  it('wake who waits when one of the fields changes or is taken away, and no one else', async () => {
    await server.room(alice, bob);
    let { next_batch: since } = await sync();
    for (const [change, expected] of [
      [() => set(bob, STATUS, { text: '家' }), { text: '家' }],
      [() => set(bob, STATUS, {}), {}],
      [() => remove(bob, STATUS), null],
    ] as const) {
      const waiting = nextUpdates(since);
      await change();
      const told = await waiting;
      expect(updates(told)).to.deep.equal({ [bob.userId]: { [STATUS]: expected } });
      since = told.next_batch;
    }
    await set(bob, 'm.tz', 'Asia/Tokyo');
    expect(await next(since)).not.to.have.property(USERS);
  });

  it('are told of one’s own too, so that the user’s other devices hear of it', async () => {
    const { next_batch: since } = await sync();
    await set(alice, STATUS, { text: '会議中' });
    expect(updates(await next(since))).to.deep.equal({ [alice.userId]: { [STATUS]: { text: '会議中' } } });
  });

  it('are told again in an answer that got lost, and after a restart what changed meanwhile', async () => {
    await server.room(alice, bob);
    const { next_batch: since } = await sync();
    await set(bob, STATUS, { text: '一' });
    await set(bob, STATUS, { text: '二' });
    const told = await next(since);
    expect(updates(told)).to.deep.equal({ [bob.userId]: { [STATUS]: { text: '二' } } });
    expect(updates(await sync(since))).to.deep.equal(updates(told));
    await server.restart();
    expect(updates(await sync(since))).to.deep.equal(updates(told));
    expect(updates(await sync(told.next_batch))).to.deep.equal({});
  });

  it('are told whole of who comes into a room, and of all who are in a room that one comes into', async () => {
    const { next_batch: since } = await sync();
    const room = await server.room(alice, bob);
    const second = await next(since);
    expect(updates(second)[bob.userId]).to.deep.equal({ [STATUS]: { text: '泳いでいます', emoji: '🏊️' } });
    const carol = await server.register();
    await set(carol, STATUS, { text: 'c' });
    await server.must(carol, 'POST', `/rooms/${room}/join`, {});
    expect(updates(await next(second.next_batch))[carol.userId]).to.deep.equal({ [STATUS]: { text: 'c' } });
    const fresh = await server.login(carol);
    const { next_batch: before } = await sync(undefined, {}, fresh);
    const other = await server.room(alice, bob);
    await server.must(carol, 'POST', `/rooms/${other}/join`, {});
    await server.idle();
    expect(updates(await sync(before, {}, fresh))).to.include.keys(bob.userId);
  });

  it('name what was taken away of who comes anew into a room, from whom the client may have it', async () => {
    await server.room(alice, bob);
    const { next_batch: since } = await sync(undefined, { fields: [STATUS, 'displayname'] });
    await remove(bob, STATUS);
    await server.room(alice, bob);
    expect(updates(await next(since, { fields: [STATUS, 'displayname'] }))[bob.userId]).to.deep.equal({
      displayname: 'ボブ',
      [STATUS]: null,
    });
  });

  it('say of users who share no room any more that there is nothing to follow', async () => {
    const room = await server.room(alice, bob);
    const other = await server.room(alice, bob);
    let { next_batch: since } = await sync();
    await leave(bob, room);
    const still = await next(since);
    expect(updates(still)).to.deep.equal({});
    since = still.next_batch;
    await leave(alice, other);
    const gone = await next(since);
    expect(updates(gone)).to.deep.equal({ [bob.userId]: null });
    await set(bob, STATUS, { text: '内緒' });
    expect(updates(await next(gone.next_batch))).to.deep.equal({});
  });

  it('of lazily loaded members come with those who write, once, and with those who changed something', async () => {
    const room = await server.room(alice, bob);
    const carol = await server.register();
    await set(carol, STATUS, { text: 'c' });
    await server.must(carol, 'POST', `/rooms/${room}/join`, {});
    await server.must(alice, 'PUT', `/rooms/${room}/state/m.room.name`, { name: '部屋' });
    for (let n = 0; n < 12; n++) await say(alice, room);
    const first = await sync(undefined, { more: LAZY });
    expect(updates(first)).to.deep.equal({});
    await say(bob, room);
    const second = await next(first.next_batch, { more: LAZY });
    expect(updates(second)).to.have.all.keys(bob.userId);
    // The answer may have got lost.
    expect(updates(await sync(first.next_batch, { more: LAZY }))).to.deep.equal(updates(second));
    await say(bob, room);
    const third = await next(second.next_batch, { more: LAZY });
    expect(updates(third)).to.deep.equal({});
    await set(carol, STATUS, { text: 'cc' });
    const fourth = await next(third.next_batch, { more: LAZY });
    expect(updates(fourth)).to.deep.equal({ [carol.userId]: { [STATUS]: { text: 'cc' } } });
    await say(bob, room);
    const wider = await next(fourth.next_batch, { more: LAZY, fields: [STATUS, 'displayname'] });
    expect(updates(wider)[bob.userId]).to.include({ displayname: 'ボブ' });
  });

  it('of lazily loaded members are told anew once they come back', async () => {
    const room = await server.room(alice, bob);
    const first = await sync(undefined, { more: LAZY });
    expect(updates(first)).to.include.keys(bob.userId);
    await leave(bob, room);
    const second = await next(first.next_batch, { more: LAZY });
    expect(updates(second)).to.deep.equal({ [bob.userId]: null });
    await server.must(bob, 'POST', `/rooms/${room}/join`, {});
    expect(updates(await next(second.next_batch, { more: LAZY }))[bob.userId]).to.include.keys(STATUS);
  });

  it('are all told to who asks for more fields, or for the full state', async () => {
    const room = await server.room(alice, bob);
    const first = await sync();
    await say(bob, room);
    const second = await next(first.next_batch, { fields: [STATUS, 'displayname'] });
    expect(updates(second)[bob.userId]).to.include({ displayname: 'ボブ' });
    // The answer may have got lost.
    expect(updates(await sync(first.next_batch, { fields: [STATUS, 'displayname'] }))).to.deep.equal(updates(second));
    const third = await next(second.next_batch, { fields: [STATUS, 'displayname'] });
    expect(updates(third)).to.deep.equal({});
    expect(updates(await sync(third.next_batch, { fullState: true }))).to.include.keys(bob.userId);
  });

  it('are told again to who asks for more fields when that answer got lost, also where nothing else has happened', async () => {
    const room = await server.room(alice, bob);
    await say(bob, room);
    const fields = [STATUS, 'displayname'];
    for (const more of [{}, LAZY]) {
      const first = await sync(undefined, { more });
      expect(updates(first)[bob.userId]).to.have.all.keys(STATUS);
      const second = await next(first.next_batch, { fields, more });
      expect(updates(second)[bob.userId]).to.include({ displayname: 'ボブ' });
      const again = await sync(first.next_batch, { fields, more });
      expect(updates(again)).to.deep.equal(updates(second));
      const third = await sync(again.next_batch, { fields, more });
      expect(updates(third)).to.deep.equal({});
      expect(updates(await sync(third.next_batch, { fields, more }))).to.deep.equal({});
      await say(bob, room);
      expect(updates(await next(third.next_batch, { fields, more }))).to.deep.equal({});
    }
  });

  it('of many users come in several answers, each at once after the other, also when one is lost, and after a restart', async () => {
    const room = await server.room(alice);
    const others: string[] = [];
    for (let n = 0; n < 205; n++) {
      const other = await server.register();
      await set(other, STATUS, { text: `${n}` });
      await server.must(other, 'POST', `/rooms/${room}/join`, {});
      others.push(other.userId);
    }
    const first = await sync();
    expect(Object.keys(updates(first)).length).to.be.below(others.length);
    const second = await sync(first.next_batch, { timeout: 60_000 });
    const again = await sync(first.next_batch, { timeout: 60_000 });
    expect(updates(again)).to.deep.equal(updates(second));
    expect([...Object.keys(updates(first)), ...Object.keys(updates(second))]).to.include.members(others);
    await server.restart();
    const found = new Set<string>();
    let { next_batch: since } = first;
    while (found.size < others.length) {
      const body = await sync(since, { timeout: 60_000 });
      const names = Object.keys(updates(body)).filter((userId) => others.includes(userId));
      if (names.every((userId) => found.has(userId))) break;
      for (const userId of names) found.add(userId);
      since = body.next_batch;
    }
    expect(others.filter((userId) => !found.has(userId))).to.deep.equal([]);
  });

  it('are told whole, with what was removed, of those who share a room after more changes than are looked at one by one', async () => {
    await server.room(alice, bob);
    const { next_batch: since } = await sync(undefined, { fields: [STATUS, 'm.tz'] });
    await set(bob, 'm.tz', 'Asia/Tokyo');
    await remove(bob, STATUS);
    await server.idle();
    const { vector = [] } = decodeSyncToken((await sync(undefined)).next_batch) ?? {};
    await server.database.query(MANY_CHANGES, [bob.userId, vector[shardOfName(bob.userId)]]);
    await server.restart();
    const told = updates(await sync(since, { fields: [STATUS, 'm.tz'] }));
    expect(told[bob.userId]).to.deep.equal({ 'm.tz': 'Asia/Tokyo', [STATUS]: null });
  });

  it('are asked for by a list of names of fields', async () => {
    for (const wrong of [[], 'x', { ids: 'x' }, { ids: [1] }]) {
      const filter = { 'org.matrix.msc4429.profile_fields': wrong };
      const answer = await server.ask(alice, 'POST', `/user/${alice.userId}/filter`, filter);
      expect([answer.status, answer.body['errcode']], JSON.stringify(wrong)).to.deep.equal([400, 'M_BAD_JSON']);
    }
    const versions = await fetch(`${server.address}/_matrix/client/versions`);
    const { unstable_features: features } = (await versions.json()) as Json;
    expect(features['org.matrix.msc4429']).to.equal(true);
  });
});
