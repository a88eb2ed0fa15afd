import { expect } from 'chai';
import fc from 'fast-check';
import { EncryptionServer, type TestDevice } from '#test/integration/e2ee/encryption-server.ts';

const UNSTABLE = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';
const V4 = '/_matrix/client/v4/sync';

// What a test expects in a body it says itself.
// oxlint-disable-next-line typescript/no-explicit-any
type Json = any;

const ALL = { ranges: [[0, 99]], timeline_limit: 10, required_state: [['*', '*']] };

describe('sliding sync', function () {
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

  const poll = (device: TestDevice, body: object, pos?: string, timeout = 0): ReturnType<EncryptionServer['ask']> =>
    server.ask(device, 'POST', `${UNSTABLE}?timeout=${timeout}${pos === undefined ? '' : `&pos=${pos}`}`, body);
  const sync = async (device: TestDevice, body: object, pos?: string, timeout = 0): Promise<Json> => {
    const answer = await poll(device, body, pos, timeout);
    expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
    return answer.body;
  };
  const say = async (device: TestDevice, roomId: string, body: string): Promise<string> =>
    (
      await server.must(device, 'PUT', `/rooms/${roomId}/send/m.room.message/t${(txns += 1)}`, {
        msgtype: 'm.text',
        body,
      })
    ).event_id;
  const texts = (room: Json): string[] =>
    (room?.timeline ?? []).flatMap((event: Json) => (event.type === 'm.room.message' ? [event.content.body] : []));

  it('begins with the windows of its lists, the most recent rooms first, and how many rooms there are', async () => {
    const rooms: string[] = [];
    for (let n = 0; n < 5; n++) rooms.push(await server.room(alice));
    await say(alice, rooms[1] as string, 'newest');
    const body = await sync(alice, { lists: { all: { ranges: [[0, 1]], timeline_limit: 1, required_state: [] } } });
    expect(body.lists.all.count).to.equal(5);
    expect(body.lists.all.ops).to.deep.equal([{ op: 'SYNC', range: [0, 1], room_ids: [rooms[1], rooms[4]] }]);
    expect(Object.keys(body.rooms)).to.have.members([rooms[1], rooms[4]]);
    const room = body.rooms[rooms[1] as string];
    expect(room).to.include({ initial: true, limited: true, joined_count: 1, invited_count: 0, num_live: 0 });
    expect(texts(room)).to.deep.equal(['newest']);
    expect(room.required_state).to.deep.equal([]);
  });

  it('tells of what is new, once, and nothing when there is nothing', async () => {
    const room = await server.room(alice, bob);
    const first = await sync(alice, { lists: { all: ALL } });
    await say(bob, room, 'one');
    const second = await sync(alice, { lists: { all: ALL } }, first.pos);
    expect(texts(second.rooms[room])).to.deep.equal(['one']);
    expect(second.rooms[room]).to.include({ num_live: 1, limited: false }).and.not.have.property('initial');
    const third = await sync(alice, { lists: { all: ALL } }, second.pos);
    expect(third.rooms).to.deep.equal({});
  });

  it('waits for news, and is woken by it', async () => {
    const room = await server.room(alice, bob);
    const first = await sync(alice, { lists: { all: ALL } });
    const waiting = sync(alice, { lists: { all: ALL } }, first.pos, 20_000);
    await say(bob, room, 'hello');
    expect(texts((await waiting).rooms[room])).to.deep.equal(['hello']);
  });

  it('gives an answer that got lost again, and refuses positions that are not known', async () => {
    const room = await server.room(alice, bob);
    const first = await sync(alice, { lists: { all: ALL } });
    await say(bob, room, 'one');
    const second = await sync(alice, { lists: { all: ALL } }, first.pos);
    await say(bob, room, 'two');
    expect(await sync(alice, { lists: { all: ALL } }, first.pos)).to.deep.equal(second);
    const third = await sync(alice, { lists: { all: ALL } }, second.pos);
    expect(texts(third.rooms[room])).to.deep.equal(['two']);
    for (const pos of [first.pos, 'x', String(first.pos).replace('/1/', '/99/'), '']) {
      if (pos === '') continue;
      const { status, body } = await poll(alice, {}, pos);
      expect([status, body.errcode]).to.deep.equal([400, 'M_UNKNOWN_POS']);
    }
    expect((await poll(bob, {}, third.pos)).body.errcode).to.equal('M_UNKNOWN_POS');
  });

  it('resumes after a restart, and keeps connections of one device apart', async () => {
    const room = await server.room(alice, bob);
    const first = await sync(alice, { conn_id: 'list', lists: { all: ALL } });
    const other = await sync(alice, { conn_id: 'encryption', extensions: { e2ee: { enabled: true } } });
    await say(bob, room, 'one');
    await server.restart();
    const second = await sync(alice, { conn_id: 'list', lists: { all: ALL } }, first.pos);
    expect(second.rooms[room].initial).to.equal(undefined);
    expect(texts(second.rooms[room])).to.deep.equal(['one']);
    expect((await poll(alice, { conn_id: 'encryption' }, other.pos)).status).to.equal(200);
    expect((await poll(alice, { conn_id: 'list' }, other.pos)).body.errcode).to.equal('M_UNKNOWN_POS');
  });

  it('tells the state that is wanted: by type, by key, one’s own member, and those of who wrote', async () => {
    const room = await server.room(alice, bob);
    await server.must(alice, 'PUT', `/rooms/${room}/state/m.room.name/`, { name: '集い' });
    await server.must(alice, 'PUT', `/rooms/${room}/state/org.x/a`, { n: 1 });
    await server.must(alice, 'PUT', `/rooms/${room}/state/org.x/b`, { n: 2 });
    await say(bob, room, 'hi');
    const state = async (required: string[][], limit = 1): Promise<string[]> => {
      const body = await sync(alice, {
        room_subscriptions: { [room]: { timeline_limit: limit, required_state: required } },
      });
      return body.rooms[room].required_state.map((event: Json) => `${event.type} ${event.state_key}`).toSorted();
    };
    expect(await state([['m.room.name', '']])).to.deep.equal(['m.room.name ']);
    expect(await state([['org.x', '*']])).to.deep.equal(['org.x a', 'org.x b']);
    expect(await state([['m.room.member', '$ME']])).to.deep.equal([`m.room.member ${alice.userId}`]);
    expect(await state([['m.room.member', '$LAZY']])).to.deep.equal(
      [`m.room.member ${alice.userId}`, `m.room.member ${bob.userId}`].toSorted(),
    );
    expect(await state([['*', 'a']])).to.deep.equal(['org.x a']);
    expect((await state([['*', '*']])).length).to.be.greaterThan(8);
  });

  it('tells changes of the state that is wanted, also when more happened than the timeline shows, and widens it', async () => {
    const room = await server.room(alice, bob);
    const wish = (required: string[][]): object => ({
      room_subscriptions: { [room]: { timeline_limit: 1, required_state: required } },
    });
    const first = await sync(alice, wish([['m.room.name', '']]));
    await server.must(alice, 'PUT', `/rooms/${room}/state/m.room.name/`, { name: 'new' });
    for (let n = 0; n < 5; n++) await say(bob, room, `m${n}`);
    const second = await sync(alice, wish([['m.room.name', '']]), first.pos);
    expect(second.rooms[room]).to.include({ name: 'new', limited: true });
    expect(second.rooms[room].required_state.map((event: Json) => event.content.name)).to.deep.equal(['new']);
    const third = await sync(
      alice,
      wish([
        ['m.room.name', ''],
        ['m.room.join_rules', ''],
      ]),
      second.pos,
    );
    expect(third.rooms[room].required_state.map((event: Json) => event.type)).to.include('m.room.join_rules');
    expect(third.rooms[room]).not.to.have.property('initial');
  });

  it('makes a timeline longer when a longer one is wanted, and says so', async () => {
    const room = await server.room(alice);
    for (let n = 0; n < 6; n++) await say(alice, room, `m${n}`);
    const wish = (limit: number): object => ({
      lists: { all: { ranges: [[0, 9]], timeline_limit: limit, required_state: [] } },
    });
    const first = await sync(alice, wish(1));
    expect(texts(first.rooms[room])).to.deep.equal(['m5']);
    const second = await sync(alice, wish(4), first.pos);
    expect(texts(second.rooms[room])).to.deep.equal(['m2', 'm3', 'm4', 'm5']);
    expect(second.rooms[room]).to.include({ unstable_expanded_timeline: true, limited: true });
    expect((await sync(alice, wish(4), second.pos)).rooms).to.deep.equal({});
  });

  it('filters its lists', async () => {
    const plain = await server.room(alice);
    const secret = await server.room(alice);
    await server.must(alice, 'PUT', `/rooms/${secret}/state/m.room.encryption/`, { algorithm: 'm.megolm.v1.aes-sha2' });
    const { room_id: space } = await server.must(alice, 'POST', '/createRoom', {
      creation_content: { type: 'm.space' },
    });
    await server.must(alice, 'PUT', `/rooms/${space}/state/m.space.child/${plain}`, { via: ['localhost'] });
    await server.must(alice, 'PUT', `/user/${alice.userId}/account_data/m.direct`, { [bob.userId]: [secret] });
    await server.must(alice, 'PUT', `/user/${alice.userId}/rooms/${plain}/tags/m.favourite`, {});
    const { room_id: invited } = await server.must(bob, 'POST', '/createRoom', { invite: [alice.userId] });
    const list = async (filters: object): Promise<string[]> => {
      const body = await sync(alice, {
        lists: { l: { ranges: [[0, 9]], timeline_limit: 0, required_state: [], filters } },
      });
      return body.lists.l.ops[0].room_ids;
    };
    expect(await list({ is_encrypted: true })).to.deep.equal([secret]);
    expect(await list({ is_dm: true })).to.deep.equal([secret]);
    expect(await list({ is_invite: true })).to.deep.equal([invited]);
    expect(await list({ is_invite: false })).to.have.members([plain, secret, space]);
    expect(await list({ room_types: ['m.space'] })).to.deep.equal([space]);
    expect(await list({ not_room_types: ['m.space'], is_invite: false })).to.have.members([plain, secret]);
    expect(await list({ room_types: [null], is_invite: false })).to.have.members([plain, secret]);
    expect(await list({ spaces: [space] })).to.deep.equal([plain]);
    expect(await list({ tags: ['m.favourite'] })).to.deep.equal([plain]);
    expect(await list({ not_tags: ['m.favourite'], is_invite: false })).to.have.members([secret, space]);
  });

  it('shows invitations by their stripped state, and joining them as a room that is new', async () => {
    const { room_id: room } = await server.must(bob, 'POST', '/createRoom', { invite: [alice.userId], name: 'Party' });
    const first = await sync(alice, { lists: { all: ALL } });
    const invite = first.rooms[room];
    expect(invite.invite_state.map((event: Json) => event.type)).to.include.members(['m.room.create', 'm.room.member']);
    expect(invite).to.include({ initial: true, name: 'Party' }).and.not.have.property('timeline');
    await server.must(alice, 'POST', `/rooms/${room}/join`, {});
    const second = await sync(alice, { lists: { all: ALL } }, first.pos);
    expect(second.rooms[room]).to.include({ initial: true, joined_count: 2 }).and.not.have.property('invite_state');
  });

  it('shows a room that was left once more, with the leave', async () => {
    const room = await server.room(bob, alice);
    const first = await sync(alice, { lists: { all: ALL } });
    await say(bob, room, 'before');
    await server.must(alice, 'POST', `/rooms/${room}/leave`, {});
    await say(bob, room, 'after');
    const second = await sync(alice, { lists: { all: ALL } }, first.pos);
    expect(texts(second.rooms[room])).to.deep.equal(['before']);
    expect(second.rooms[room].timeline.at(-1).content.membership).to.equal('leave');
    expect(second.lists.all.count).to.equal(0);
    const third = await sync(alice, { lists: { all: ALL } }, second.pos);
    expect(third.rooms).to.deep.equal({});
    const fresh = await sync(alice, { lists: { all: ALL } });
    expect(fresh.rooms).to.deep.equal({});
  });

  it('names heroes of rooms without a name, and direct chats', async () => {
    await server.must(bob, 'PUT', `/profile/${bob.userId}/displayname`, { displayname: 'ボブ' });
    const room = await server.room(alice, bob);
    await server.must(alice, 'PUT', `/user/${alice.userId}/account_data/m.direct`, { [bob.userId]: [room] });
    const body = await sync(alice, { lists: { all: ALL } });
    expect(body.rooms[room].heroes).to.deep.equal([{ user_id: bob.userId, displayname: 'ボブ' }]);
    expect(body.rooms[room].is_dm).to.equal(true);
  });

  it('counts what was not read, and tells when it was', async () => {
    const room = await server.room(alice, bob);
    const eventId = await say(bob, room, 'unread');
    const first = await sync(alice, { lists: { all: ALL } });
    expect(first.rooms[room].notification_count).to.equal(1);
    await server.must(alice, 'POST', `/rooms/${room}/receipt/m.read/${eventId}`, {});
    const second = await sync(alice, { lists: { all: ALL } }, first.pos);
    expect(second.rooms[room].notification_count).to.equal(0);
  });

  it('tells by extensions of messages to the device, keys, account data, receipts and who types', async () => {
    const room = await server.room(alice, bob);
    const extensions = {
      to_device: { enabled: true },
      e2ee: { enabled: true },
      account_data: { enabled: true },
      receipts: { enabled: true },
      typing: { enabled: true },
    };
    const first = await sync(alice, { lists: { all: ALL }, extensions });
    expect(first.extensions.e2ee.device_one_time_keys_count).to.deep.equal({ signed_curve25519: 0 });
    expect(first.extensions.account_data.global.map((event: Json) => event.type)).to.include('m.push_rules');
    const eventId = await say(bob, room, 'one');
    await server.must(bob, 'PUT', `/sendToDevice/m.test/x${txns}`, { messages: { [alice.userId]: { '*': { n: 1 } } } });
    await server.must(bob, 'POST', `/rooms/${room}/receipt/m.read/${eventId}`, {});
    await server.must(bob, 'PUT', `/rooms/${room}/typing/${bob.userId}`, { typing: true, timeout: 30_000 });
    await server.must(alice, 'PUT', `/user/${alice.userId}/account_data/org.x`, { n: 1 });
    await server.must(alice, 'PUT', `/user/${alice.userId}/rooms/${room}/account_data/org.y`, { n: 2 });
    await server.login(bob);
    await server.idle();
    const second = await sync(alice, { lists: { all: ALL }, extensions }, first.pos);
    expect(second.extensions.to_device.events.map((event: Json) => event.content.n)).to.deep.equal([1]);
    expect(second.extensions.e2ee.device_lists.changed).to.deep.equal([bob.userId]);
    expect(second.extensions.account_data.global).to.deep.equal([{ type: 'org.x', content: { n: 1 } }]);
    expect(second.extensions.account_data.rooms).to.deep.equal({ [room]: [{ type: 'org.y', content: { n: 2 } }] });
    expect(second.extensions.receipts.rooms[room].content[eventId]['m.read']).to.have.property(bob.userId);
    expect(second.extensions.typing.rooms[room].content.user_ids).to.deep.equal([bob.userId]);
    const acknowledged = { ...extensions, to_device: { enabled: true, since: second.extensions.to_device.next_batch } };
    const third = await sync(alice, { lists: { all: ALL }, extensions: acknowledged }, second.pos);
    expect(third.extensions.to_device.events).to.deep.equal([]);
    expect(third.extensions.receipts.rooms).to.deep.equal({});
    expect(third.extensions.typing.rooms).to.deep.equal({});
    expect(third.extensions.account_data).to.deep.equal({ global: [], rooms: {} });
    await server.must(bob, 'PUT', `/rooms/${room}/typing/${bob.userId}`, { typing: false });
    const fourth = await sync(alice, { lists: { all: ALL }, extensions: acknowledged }, third.pos);
    expect(fourth.extensions.typing.rooms[room].content.user_ids).to.deep.equal([]);
  });

  it('wakes a connection when only the counts of the device’s keys change, and tells them once', async () => {
    const wish = { extensions: { e2ee: { enabled: true } } };
    const key = { key: 'k', signatures: { [alice.userId]: { 'ed25519:X': 'sig' } } };
    let { pos } = await sync(alice, wish);
    const changes: [() => Promise<unknown>, Json, string[]][] = [
      [
        () => server.must(alice, 'POST', '/keys/upload', { one_time_keys: { 'signed_curve25519:A': key } }),
        { signed_curve25519: 1 },
        [],
      ],
      [
        () =>
          server.must(alice, 'POST', '/keys/upload', {
            fallback_keys: { 'signed_curve25519:F': { ...key, fallback: true } },
          }),
        { signed_curve25519: 1 },
        ['signed_curve25519'],
      ],
      ...[[{ signed_curve25519: 0 }, ['signed_curve25519']] as const, [{ signed_curve25519: 0 }, []] as const].map(
        ([counts, fallback]): [() => Promise<unknown>, Json, string[]] => [
          () =>
            server.must(bob, 'POST', '/keys/claim', {
              one_time_keys: { [alice.userId]: { [alice.deviceId]: 'signed_curve25519' } },
            }),
          counts,
          [...fallback],
        ],
      ),
    ];
    for (const [change, counts, fallback] of changes) {
      const waiting = sync(alice, wish, pos, 60_000);
      await change();
      const told = await waiting;
      expect(told.extensions.e2ee).to.deep.include({
        device_one_time_keys_count: counts,
        device_unused_fallback_key_types: fallback,
      });
      ({ pos } = told);
    }
    // Nothing changes: there is nothing to answer before the time is over.
    const quiet = await sync(alice, wish, pos, 100);
    expect(quiet.extensions.e2ee.device_one_time_keys_count).to.deep.equal({ signed_curve25519: 0 });
  });

  it('speaks the form that was accepted, too', async () => {
    const room = await server.room(alice, bob);
    const { room_id: invited } = await server.must(bob, 'POST', '/createRoom', { invite: [alice.userId] });
    const wish = {
      lists: {
        all: {
          timeline_limit: 2,
          required_state: { include: [{ type: 'm.room.create' }], lazy_members: true },
          filters: {},
        },
      },
    };
    const first = await server.must(alice, 'POST', V4, { ...wish, timeout: 0 });
    expect(first.lists).to.deep.equal({ all: { count: 2 } });
    expect(first.rooms[room]).to.deep.include({ membership: 'join', lists: ['all'], name: null, initial: true });
    expect(first.rooms[room]).not.to.have.property('notification_count');
    expect(first.rooms[room].required_state.map((event: Json) => event.type)).to.include('m.room.create');
    expect(first.rooms[invited].stripped_state.length).to.be.greaterThan(0);
    await say(bob, room, 'x');
    const second = await server.must(alice, 'POST', V4, { ...wish, pos: first.pos, timeout: 0 });
    expect(texts(second.rooms[room])).to.deep.equal(['x']);
    const { body } = await server.ask(alice, 'POST', V4, { pos: 'nothing' });
    expect(body.errcode).to.equal('M_UNKNOWN_POS');
  });

  it('refuses what is no request, and what asks for too much', async () => {
    const bad: readonly object[] = [
      { lists: [] },
      { lists: { l: { ranges: [[0, -1]] } } },
      { lists: { l: { ranges: 'x' } } },
      { lists: { l: { ranges: [[0, 1]], timeline_limit: -1 } } },
      { lists: { l: { ranges: [[0, 1]], required_state: [['m.room.name']] } } },
      { lists: { l: { ranges: [[0, 1]], filters: { is_dm: 'yes' } } } },
      { room_subscriptions: { '!a:b': 7 } },
      { conn_id: 7 },
      { extensions: { to_device: { enabled: 'yes' } } },
    ];
    for (const body of bad) {
      const answer = await poll(alice, body);
      expect([answer.status, answer.body.errcode], JSON.stringify(body)).to.deep.equal([400, 'M_BAD_JSON']);
    }
    for (const connId of ['a\u0000b', '\ud800', 'x'.repeat(256), 7]) {
      const answer = await poll(alice, { conn_id: connId });
      expect([answer.status, answer.body.errcode], String(connId)).to.deep.equal([400, 'M_BAD_JSON']);
    }
    expect(
      (await poll(alice, { conn_id: 'any name up to 255 characters, as the proposal has no bound' })).status,
    ).to.equal(200);
    for (const name of ['', 'a b', 'ä', 'x'.repeat(256)]) {
      const named = { [name]: { timeline_limit: 1, required_state: {} } };
      expect((await server.ask(alice, 'POST', V4, { lists: named })).body.errcode, name).to.equal('M_INVALID_PARAM');
    }
    const lists = Object.fromEntries(Array.from({ length: 101 }, (_, n) => [`l${n}`, { ranges: [[0, 1]] }]));
    expect((await poll(alice, { lists })).body.errcode).to.equal('M_INVALID_PARAM');
    const since = { extensions: { to_device: { enabled: true, since: 'x' } } };
    expect((await poll(alice, since)).body.errcode).to.equal('M_INVALID_PARAM');
  });

  it('with nothing new costs no statement, and one message costs none either', async () => {
    const room = await server.room(alice, bob);
    const wish = {
      lists: { all: { ...ALL, required_state: [['m.room.member', '$LAZY']] } },
      extensions: { e2ee: { enabled: true } },
    };
    let { pos } = await sync(alice, wish);
    for (let round = 0; round < 2; round++) {
      await say(bob, room, `warm ${round}`);
      ({ pos } = await sync(alice, wish, pos));
    }
    const next = async (): Promise<void> => {
      ({ pos } = await sync(alice, wish, pos));
    };
    // What goes on beside it by chance does not count.
    const leastOf = async (work: () => Promise<unknown>): Promise<number> => {
      const counts: number[] = [];
      for (let n = 0; n < 3; n++) counts.push(await server.statements(work));
      return Math.min(...counts);
    };
    expect(await leastOf(next)).to.equal(0);
    const sent = await leastOf(() => say(bob, room, 'counted'));
    await next();
    const delivered = await leastOf(async () => {
      await say(bob, room, 'counted');
      await next();
    });
    expect(delivered - sent).to.be.at.most(0);
  });

  it('of a room that comes into its window after a restart costs two statements, for all connections together, and none from then on', async () => {
    const rooms: string[] = [];
    for (let n = 0; n < 5; n++) rooms.push(await server.room(alice, bob));
    await server.restart();
    const wish = (connId: string): object => ({
      conn_id: connId,
      lists: { all: { ...ALL, ranges: [[0, 1]], required_state: [['m.room.member', '$LAZY']] } },
    });
    const positions = new Map<string, string>();
    const everyone = async (): Promise<void> => {
      for (const connId of ['a', 'b', 'c']) {
        const { pos } = await sync(alice, wish(connId), positions.get(connId));
        positions.set(connId, pos);
      }
    };
    await everyone();
    const costs = async (room: string | undefined): Promise<number> => {
      await say(alice, room as string, 'counted');
      await server.idle();
      const before = server.database.statements();
      await everyone();
      return server.database.statements() - before;
    };
    const first: number[] = [];
    const second: number[] = [];
    for (const room of rooms.slice(0, 3)) {
      first.push(await costs(room));
      second.push(await costs(room));
    }
    // What goes on beside it by chance does not count.
    expect(Math.min(...first)).to.be.at.most(2);
    expect(Math.min(...second)).to.equal(0);
  });

  it('followed over random histories shows each message of its windows once and in order, and the state as it is', async () => {
    const rooms = [await server.room(bob, alice), await server.room(bob, alice), await server.room(bob, alice)];
    const said = new Map(rooms.map((room) => [room, [] as string[]]));
    const seen = new Map(rooms.map((room) => [room, [] as string[]]));
    const topics = new Map<string, string>();
    const told = new Map<string, string>();
    let pos: string | undefined;
    let lost: string | undefined;
    const wish = (window: number): object => ({
      lists: { all: { ranges: [[0, window]], timeline_limit: 50, required_state: [['m.room.topic', '']] } },
    });
    const read = async (window: number, from: string | undefined): Promise<string> => {
      const body = await sync(alice, wish(window), from);
      for (const [roomId, room] of Object.entries<Json>(body.rooms)) {
        const known = room.initial === true ? [] : (seen.get(roomId) ?? []);
        seen.set(roomId, [...known, ...texts(room)]);
        for (const event of room.required_state)
          if (event.type === 'm.room.topic') told.set(roomId, event.content.topic);
      }
      return body.pos;
    };
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.record({ act: fc.constant('say' as const), n: fc.nat(2) }) },
      { weight: 1, arbitrary: fc.record({ act: fc.constant('topic' as const), n: fc.nat(2) }) },
      { weight: 3, arbitrary: fc.record({ act: fc.constant('sync' as const), n: fc.nat(2) }) },
      { weight: 1, arbitrary: fc.record({ act: fc.constant('lost' as const), n: fc.nat(2) }) },
      { weight: 1, arbitrary: fc.record({ act: fc.constant('restart' as const), n: fc.nat(2) }) },
    );
    let count = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 15 }), async (steps) => {
        for (const { act, n } of steps) {
          const room = rooms[n] as string;
          if (act === 'say') {
            const text = `m${(count += 1)}`;
            await say(bob, room, text);
            said.get(room)?.push(text);
          } else if (act === 'topic') {
            const topic = `t${(count += 1)}`;
            await server.must(bob, 'PUT', `/rooms/${room}/state/m.room.topic/`, { topic });
            topics.set(room, topic);
          } else if (act === 'sync') pos = await read(n, pos);
          else if (act === 'lost') {
            // The answer does not arrive: the client asks again from where it was.
            lost = pos;
            await sync(alice, wish(n), pos);
            pos = lost;
          } else await server.restart();
        }
        // An answer that was lost is given again as it was: what came afterwards is in the next one.
        for (let round = 0; round < 2; round++) pos = await read(2, pos);
        for (const room of rooms) {
          // Older ones than the window of a first look were never wanted.
          const shown = seen.get(room) ?? [];
          const all = said.get(room) ?? [];
          expect(shown.join(' ')).to.equal(all.slice(all.length - shown.length).join(' '));
          expect(told.get(room)).to.equal(topics.get(room));
        }
      }),
      { numRuns: 12 },
    );
  });
});
