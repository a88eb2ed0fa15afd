import { expect } from 'chai';
import { EncryptionServer, type TestDevice } from '#test/integration/e2ee/encryption-server.ts';

const UNSTABLE = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';
const EXTENSION = 'org.matrix.msc4262.profiles';

// What a test expects in a body it says itself.
// oxlint-disable-next-line typescript/no-explicit-any
type Json = any;

const LAZY = [['m.room.member', '$LAZY']];

describe('profiles in sliding sync', function () {
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
    await set(bob, 'org.example.pronouns', ['they']);
  });

  const set = (device: TestDevice, field: string, value: unknown): Promise<Json> =>
    server.must(device, 'PUT', `/profile/${device.userId}/${field}`, { [field]: value });
  const remove = (device: TestDevice, field: string): Promise<Json> =>
    server.must(device, 'DELETE', `/profile/${device.userId}/${field}`);
  const say = (device: TestDevice, room: string): Promise<Json> =>
    server.must(device, 'PUT', `/rooms/${room}/send/m.room.message/t${(txns += 1)}`, { msgtype: 'm.text', body: 'x' });
  const sync = (wish: object, pos?: string, timeout = 0, extension: object = {}): Promise<Json> =>
    server.must(alice, 'POST', `${UNSTABLE}?timeout=${timeout}${pos === undefined ? '' : `&pos=${pos}`}`, {
      ...wish,
      extensions: { [EXTENSION]: { enabled: true, ...extension } },
    });
  const list = (required: string[][] = [['m.room.create', '']], range = [0, 9]): object => ({
    lists: { l: { ranges: [range], timeline_limit: 1, required_state: required } },
  });
  const users = (body: Json): Json => body.extensions[EXTENSION]?.users ?? {};

  it('are those of the members of rooms that come into sight, and afterwards what changes, which wakes', async () => {
    await server.room(alice, bob);
    const first = await sync(list());
    expect(users(first)[bob.userId]).to.deep.equal({
      updated: { displayname: 'ボブ', 'org.example.pronouns': ['they'] },
    });
    let { pos } = first;
    for (const [change, expected] of [
      [() => set(bob, 'm.tz', 'Asia/Tokyo'), { updated: { 'm.tz': 'Asia/Tokyo' } }],
      [() => remove(bob, 'org.example.pronouns'), { removed: ['org.example.pronouns'] }],
    ] as const) {
      const waiting = sync(list(), pos, 60_000);
      await change();
      const told = await waiting;
      expect(users(told)).to.deep.equal({ [bob.userId]: expected });
      ({ pos } = told);
    }
    await server.idle();
    expect(users(await sync(list(), (await sync(list(), pos)).pos))).to.deep.equal({});
  });

  it('are told again in an answer that got lost, and after a restart what changed meanwhile', async () => {
    await server.room(alice, bob);
    const { pos } = await sync(list());
    await set(bob, 'm.tz', 'Asia/Tokyo');
    await server.idle();
    const told = await sync(list(), pos);
    expect(users(told)[bob.userId].updated).to.deep.equal({ 'm.tz': 'Asia/Tokyo' });
    expect(users(await sync(list(), pos))).to.deep.equal(users(told));
    await server.restart();
    expect(users(await sync(list(), pos))[bob.userId].updated).to.deep.equal({ 'm.tz': 'Asia/Tokyo' });
  });

  it('are those alone whose fields are asked for, and all of them once more fields are', async () => {
    await server.room(alice, bob);
    const first = await sync(list(), undefined, 0, { fields: ['displayname'] });
    expect(users(first)).to.deep.equal({ [bob.userId]: { updated: { displayname: 'ボブ' } } });
    await set(bob, 'm.tz', 'Asia/Tokyo');
    await server.idle();
    const second = await sync(list(), first.pos, 0, { fields: ['displayname'] });
    expect(users(second)).to.deep.equal({});
    const third = await sync(list(), second.pos, 0, { fields: ['displayname', 'm.tz'] });
    expect(users(third)[bob.userId].updated).to.deep.equal({ displayname: 'ボブ', 'm.tz': 'Asia/Tokyo' });
  });

  it('of lazily loaded members come with those who write', async () => {
    const room = await server.room(alice, bob);
    await say(alice, room);
    await say(alice, room);
    const first = await sync(list(LAZY));
    expect(users(first)).not.to.have.property(bob.userId);
    await say(bob, room);
    const second = await sync(list(LAZY), first.pos);
    expect(users(second)[bob.userId].updated).to.include({ displayname: 'ボブ' });
    await say(bob, room);
    await server.idle();
    expect(users(await sync(list(LAZY), second.pos))).not.to.have.property(bob.userId);
  });

  it('are told of everybody with whom a room is shared, in sight or not, and of nobody else', async () => {
    const carol = await server.register();
    await server.room(alice, bob);
    await server.room(alice);
    const { pos } = await sync(list(undefined, [0, 0]));
    await set(bob, 'm.tz', 'Asia/Tokyo');
    await set(carol, 'm.tz', 'Asia/Tokyo');
    await set(alice, 'm.tz', 'Asia/Tokyo');
    await server.idle();
    expect(Object.keys(users(await sync(list(undefined, [0, 0]), pos)))).to.have.members([bob.userId, alice.userId]);
  });

  it('say of users who share no room any more that there is nothing to follow', async () => {
    const room = await server.room(alice, bob);
    const { pos } = await sync(list());
    await server.must(bob, 'POST', `/rooms/${room}/leave`, {});
    await server.idle();
    expect(users(await sync(list(), pos))[bob.userId]).to.equal(null);
  });

  it('name what was taken away of who comes into sight anew, from whom the client may have it', async () => {
    await server.room(alice, bob);
    const { pos } = await sync(list());
    await remove(bob, 'org.example.pronouns');
    await server.room(alice, bob);
    await server.idle();
    expect(users(await sync(list(), pos))[bob.userId]).to.deep.equal({
      updated: { displayname: 'ボブ' },
      removed: ['org.example.pronouns'],
    });
  });

  it('of many users come in several answers, each at once after the other', async () => {
    const room = await server.room(alice);
    const others: string[] = [];
    await Promise.all(
      Array.from({ length: 210 }, async (_, n) => {
        const other = await server.register();
        await set(other, 'displayname', `n${n}`);
        await server.must(other, 'POST', `/rooms/${room}/join`, {});
        others.push(other.userId);
      }),
    );
    const found = new Set<string>();
    let pos: string | undefined;
    for (let round = 0; round < 3; round++) {
      const body = await sync(list(), pos, pos === undefined || found.size > others.length ? 0 : 60_000);
      for (const userId of Object.keys(users(body))) found.add(userId);
      ({ pos } = body);
      if (others.every((userId) => found.has(userId))) break;
    }
    expect(others.filter((userId) => !found.has(userId))).to.deep.equal([]);
  });

  it('keep of one user when so many fields changed, and no more', async () => {
    const letters = (n: number): string => `${String.fromCharCode(97 + (n % 26))}${n}`;
    for (let n = 0; n < 205; n++) {
      await set(bob, `org.example.${letters(n)}`, n);
      await remove(bob, `org.example.${letters(n)}`);
    }
    await server.idle();
    const rows = await server.database.query<{ n: number }>(
      {
        name: 'count_profile_changes',
        text: 'select count(*)::int as n from profile_changes where user_id = $1',
      } as never,
      [bob.userId],
    );
    expect(rows[0]?.n).to.be.at.most(200);
  });
});
