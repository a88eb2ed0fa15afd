import { expect } from 'chai';
import { EncryptionServer, type TestDevice } from '#test/integration/e2ee/encryption-server.ts';

const UNSTABLE = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';
const V4 = '/_matrix/client/v4/sync';

// What a test expects in a body it says itself.
// oxlint-disable-next-line typescript/no-explicit-any
type Json = any;

const ALL = { ranges: [[0, 99]], timeline_limit: 10, required_state: [['*', '*']] };

describe('the rooms of sliding sync', function () {
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
  });

  const poll = (body: object, pos?: string, timeout = 0, device = alice): ReturnType<EncryptionServer['ask']> =>
    server.ask(device, 'POST', `${UNSTABLE}?timeout=${timeout}${pos === undefined ? '' : `&pos=${pos}`}`, body);
  const sync = async (body: object, pos?: string, timeout = 0): Promise<Json> => {
    const answer = await poll(body, pos, timeout);
    expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
    return answer.body;
  };
  const v4 = (body: object): Promise<Json> => server.must(alice, 'POST', V4, { timeout: 0, ...body });
  const say = async (roomId: string, body: string, device = bob): Promise<string> =>
    (
      await server.must(device, 'PUT', `/rooms/${roomId}/send/m.room.message/t${(txns += 1)}`, {
        msgtype: 'm.text',
        body,
      })
    ).event_id;
  const set = (roomId: string, type: string, content: object, key = ''): Promise<Json> =>
    server.must(bob, 'PUT', `/rooms/${roomId}/state/${type}/${key}`, content);
  const texts = (room: Json): string[] =>
    (room?.timeline ?? []).flatMap((event: Json) => (event.type === 'm.room.message' ? [event.content.body] : []));
  const stateOf = (room: Json): string[] =>
    room.required_state.map((event: Json) => `${event.type} ${event.state_key}`).toSorted();

  it('are sorted by when anything last happened in them, whatever it was', async () => {
    const rooms = [await server.room(bob, alice), await server.room(bob, alice), await server.room(bob, alice)];
    const order = async (): Promise<string[]> =>
      (await sync({ lists: { l: { ...ALL, timeline_limit: 0, required_state: [] } } })).lists.l.ops[0].room_ids;
    await set(rooms[0] as string, 'm.room.topic', { topic: 'no message' });
    expect(await order()).to.deep.equal([rooms[0], rooms[2], rooms[1]]);
    await say(rooms[1] as string, 'a message');
    expect(await order()).to.deep.equal([rooms[1], rooms[0], rooms[2]]);
    const { rooms: told } = await sync({ lists: { l: ALL } });
    const stamp = (n: number): number => told[rooms[n] as string].bump_stamp;
    // The stamp that is told goes by what was said.
    await set(rooms[2] as string, 'm.room.topic', { topic: 'again' });
    expect((await sync({ lists: { l: ALL } })).rooms[rooms[2] as string].bump_stamp).to.equal(stamp(2));
  });

  it('beyond the end of a list are none, those of several windows are told once', async () => {
    const rooms = [await server.room(alice), await server.room(alice), await server.room(alice)];
    const list = (ranges: number[][]): object => ({ lists: { l: { ranges, timeline_limit: 1, required_state: [] } } });
    const beyond = await sync(list([[5, 9]]));
    expect(beyond.lists.l).to.deep.equal({ count: 3, ops: [{ op: 'SYNC', range: [5, 9], room_ids: [] }] });
    expect(beyond.rooms).to.deep.equal({});
    const several = await sync(
      list([
        [0, 0],
        [2, 40],
        [0, 1],
      ]),
    );
    expect(Object.keys(several.rooms)).to.have.members(rooms);
    expect(several.lists.l.ops.map((op: Json) => op.room_ids)).to.deep.equal([
      [rooms[2]],
      [rooms[0]],
      [rooms[2], rooms[1]],
    ]);
  });

  it('that others put the user out of stay in their lists as they were then, those that they left themselves do not', async () => {
    const kicked = await server.room(bob, alice);
    const left = await server.room(bob, alice);
    const declined = await server.room(bob);
    await server.must(bob, 'POST', `/rooms/${declined}/ban`, { user_id: alice.userId });
    await set(kicked, 'm.room.name', { name: 'As it was' });
    await say(kicked, 'before');
    await server.must(bob, 'POST', `/rooms/${kicked}/kick`, { user_id: alice.userId });
    await server.must(alice, 'POST', `/rooms/${left}/leave`, {});
    await set(kicked, 'm.room.name', { name: 'Later' });
    await say(kicked, 'after');
    for (let round = 0; round < 2; round++) {
      const body = await sync({ lists: { l: ALL } });
      expect(body.lists.l.count).to.equal(1);
      expect(Object.keys(body.rooms)).to.deep.equal([kicked]);
      const room = body.rooms[kicked];
      expect(room).to.include({ initial: true, name: 'As it was' }).and.not.have.property('joined_count');
      expect(texts(room)).to.deep.equal(['before']);
      expect(room.timeline.at(-1).content.membership).to.equal('leave');
      expect(JSON.stringify(room)).not.to.include('Later');
      expect((await sync({ lists: { l: ALL } }, body.pos)).rooms).to.deep.equal({});
      await server.restart();
    }
    await server.must(alice, 'POST', `/rooms/${kicked}/forget`, {});
    expect((await sync({ lists: { l: ALL } })).lists.l.count).to.equal(0);
  });

  it('that the user was in and left are shown to those who subscribe to them, others to nobody', async () => {
    const left = await server.room(bob, alice);
    const strange = await server.room(bob);
    await say(left, 'before');
    await server.must(alice, 'POST', `/rooms/${left}/leave`, {});
    await say(left, 'after');
    const wish = { timeline_limit: 10, required_state: [['m.room.create', '']] };
    const body = await sync({
      room_subscriptions: { [left]: wish, [strange]: wish, '!nowhere:localhost': wish, 'no room': wish },
    });
    expect(Object.keys(body.rooms)).to.deep.equal([left]);
    expect(texts(body.rooms[left])).to.deep.equal(['before']);
    expect(stateOf(body.rooms[left])).to.include('m.room.create ');
  });

  it('say that they are no direct chats any more, and at once that they are', async () => {
    const room = await server.room(bob, alice);
    const direct = (rooms: string[]): Promise<Json> =>
      server.must(alice, 'PUT', `/user/${alice.userId}/account_data/m.direct`, { [bob.userId]: rooms });
    let body = await sync({ lists: { l: ALL } });
    expect(body.rooms[room]).not.to.have.property('is_dm');
    for (const isDm of [true, false]) {
      const waiting = sync({ lists: { l: ALL } }, body.pos, 60_000);
      await direct(isDm ? [room] : []);
      body = await waiting;
      expect(body.rooms[room].is_dm).to.equal(isDm);
    }
    await say(room, 'x');
    expect((await sync({ lists: { l: ALL } }, body.pos)).rooms[room]).not.to.have.property('is_dm');
  });

  it('tell a name and an avatar when they change, and when there is none any more', async () => {
    const room = await server.room(bob, alice);
    const list = { lists: { l: { timeline_limit: 1, required_state: {} } } };
    await set(room, 'm.room.name', { name: 'One' });
    await set(room, 'm.room.avatar', { url: 'mxc://x/y' });
    const first = await v4(list);
    expect(first.rooms[room]).to.include({ name: 'One', avatar: 'mxc://x/y' });
    await say(room, 'x');
    const second = await v4({ ...list, pos: first.pos });
    expect(second.rooms[room]).not.to.have.any.keys('name', 'avatar');
    await set(room, 'm.room.name', {});
    await set(room, 'm.room.avatar', {});
    const third = await v4({ ...list, pos: second.pos });
    expect(third.rooms[room]).to.include({ name: null, avatar: null });
    expect(third.rooms[room].heroes.map((hero: Json) => hero.user_id)).to.deep.equal([bob.userId]);
  });

  it('tell lazily of those who wrote, and of those whose membership stands in the timeline, once', async () => {
    const room = await server.room(bob, alice);
    const carol = await server.register();
    const dave = await server.register();
    await server.must(dave, 'POST', `/rooms/${room}/join`, {});
    await say(room, 'x');
    await say(room, 'y');
    const wish = {
      room_subscriptions: {
        [room]: {
          timeline_limit: 2,
          required_state: [
            ['*', '*'],
            ['m.room.member', '$LAZY'],
          ],
        },
      },
    };
    const members = (body: Json): string[] =>
      body.rooms[room].required_state
        .filter((event: Json) => event.type === 'm.room.member')
        .map((event: Json) => event.state_key);
    const first = await sync(wish);
    expect(members(first)).to.have.members([alice.userId, bob.userId]);
    expect(stateOf(first.rooms[room])).to.include('m.room.create ');
    await server.must(bob, 'POST', `/rooms/${room}/invite`, { user_id: carol.userId });
    const second = await sync(wish, first.pos);
    expect(members(second)).to.deep.equal([carol.userId]);
    await say(room, 'z');
    expect(members(await sync(wish, second.pos))).to.deep.equal([]);
  });

  it('tell of wider required state what is new by it, and nothing for a narrower one', async () => {
    const room = await server.room(bob, alice);
    await set(room, 'org.x', { n: 1 }, 'a');
    const wish = (...required: string[][]): object => ({
      lists: { l: { ranges: [[0, 9]], timeline_limit: 1, required_state: required } },
    });
    const create = ['m.room.create', ''];
    const first = await sync(wish(create, ['org.x', '*']));
    expect(stateOf(first.rooms[room])).to.deep.equal(['m.room.create ', 'org.x a']);
    const narrower = await sync(wish(create), first.pos);
    expect(narrower.rooms).to.deep.equal({});
    await set(room, 'org.x', { n: 2 }, 'a');
    const beside = await sync(wish(create), narrower.pos);
    expect(stateOf(beside.rooms[room])).to.deep.equal([]);
    // What changed while it was not wanted is told when it is again.
    const waiting = sync(wish(create, ['org.x', 'a'], ['m.room.join_rules', '']), beside.pos, 60_000);
    const wider = await waiting;
    expect(stateOf(wider.rooms[room])).to.deep.equal(['m.room.join_rules ', 'org.x a']);
    expect(wider.rooms[room].required_state.find((event: Json) => event.type === 'org.x').content).to.deep.equal({
      n: 2,
    });
  });

  it('are wanted without state that is left out, unless another list wants it', async () => {
    const room = await server.room(bob, alice);
    const all = { timeline_limit: 1, required_state: { include: [{}], exclude: [{ type: 'm.room.create' }] } };
    const one = await v4({ lists: { l: all } });
    expect(stateOf(one.rooms[room])).to.include('m.room.join_rules ').and.not.include('m.room.create ');
    const two = await v4({
      lists: { l: all, other: { timeline_limit: 1, required_state: { include: [{ type: 'm.room.create' }] } } },
    });
    expect(stateOf(two.rooms[room])).to.include.members(['m.room.join_rules ', 'm.room.create ']);
  });

  it('of invitations by ignored users, or of any where none are wanted, are not shown', async () => {
    const { room_id: invited } = await server.must(bob, 'POST', '/createRoom', { invite: [alice.userId] });
    expect(Object.keys((await sync({ lists: { l: ALL } })).rooms)).to.deep.equal([invited]);
    await server.must(alice, 'PUT', `/user/${alice.userId}/account_data/m.ignored_user_list`, {
      ignored_users: { [bob.userId]: {} },
    });
    expect((await sync({ lists: { l: ALL } })).lists.l.count).to.equal(0);
  });

  it('come by knocking, and leave the list when the knock is refused', async () => {
    const { room_id: room } = await server.must(bob, 'POST', '/createRoom', {
      room_version: '11',
      initial_state: [{ type: 'm.room.join_rules', state_key: '', content: { join_rule: 'knock' } }],
    });
    await server.must(alice, 'POST', `/knock/${room}`, {});
    const first = await sync({ lists: { l: ALL } });
    expect(first.rooms[room].invite_state.length).to.be.greaterThan(0);
    await server.must(bob, 'POST', `/rooms/${room}/kick`, { user_id: alice.userId });
    const second = await sync({ lists: { l: ALL } }, first.pos);
    expect(second.rooms[room].timeline.at(-1).content.membership).to.equal('leave');
    expect(second.lists.l.count).to.equal(0);
  });

  it('are read further back from the position of an answer', async () => {
    const room = await server.room(bob, alice);
    const root = await say(room, 'one');
    const { pos } = await sync({ lists: { l: ALL } });
    await say(room, 'two');
    const query = new URLSearchParams({ dir: 'b', from: pos, limit: '1' });
    const { chunk } = await server.must(alice, 'GET', `/rooms/${room}/messages?${query}`);
    expect(chunk.map((event: Json) => event.content.body)).to.deep.equal(['one']);
    await server.must(
      alice,
      'GET',
      `/_matrix/client/v1/rooms/${room}/relations/${root}?${new URLSearchParams({ from: pos })}`,
    );
  });

  it('are told to a new request of a connection while an earlier one still waits', async () => {
    const room = await server.room(bob, alice);
    const { pos } = await sync({ lists: { l: ALL } });
    const earlier = sync({ lists: { l: ALL } }, pos, 60_000);
    const later = await sync(
      { lists: { l: ALL }, room_subscriptions: { [room]: { ...ALL, timeline_limit: 20 } } },
      pos,
    );
    expect(later.rooms).to.have.property(room);
    expect((await earlier).rooms).to.deep.equal({});
  });

  it('of a device that opens ever more connections are forgotten with those that it used longest ago', async () => {
    await server.room(bob, alice);
    const first = await sync({ conn_id: 'first', lists: { l: ALL } });
    const other = await server.login(alice);
    const theirs = (await poll({ conn_id: 'x', lists: { l: ALL } }, undefined, 0, other)).body;
    for (let n = 0; n < 20; n++) await sync({ conn_id: `c${n}`, lists: { l: ALL } });
    const { status, body } = await poll({ conn_id: 'first', lists: { l: ALL } }, first.pos);
    expect([status, body.errcode]).to.deep.equal([400, 'M_UNKNOWN_POS']);
    expect((await poll({ conn_id: 'x', lists: { l: ALL } }, theirs.pos, 0, other)).status).to.equal(200);
  });

  it('are refused to who names a presence that there is none of', async () => {
    const { status, body } = await server.ask(alice, 'POST', V4, { set_presence: 'busy' });
    expect([status, body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
    const unstable = await server.ask(alice, 'POST', `${UNSTABLE}?set_presence=busy`, {});
    expect([unstable.status, unstable.body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
  });
});
