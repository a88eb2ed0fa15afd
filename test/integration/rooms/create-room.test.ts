import { expect } from 'chai';
import { type Json, InProcessServer } from '#test/support/in-process-server.ts';

type Event = {
  type: string;
  state_key?: string;
  content: Record<string, Json>;
  sender: string;
  event_id: string;
  room_id: string;
};

describe('creating rooms', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => (server = await InProcessServer.start()));
  after(() => server.stop());

  const timeline = async (token: string, roomId: string): Promise<Event[]> =>
    (await server.must(token, 'GET', `/rooms/${roomId}/messages?dir=f&limit=100`)).chunk;
  const state = (roomId: string, type: string): Promise<Record<string, Json>> =>
    server.must('alice', 'GET', `/rooms/${roomId}/state/${type}`);

  it('makes the events in the order that the specification names', async () => {
    const roomId = await server.room('alice', {
      room_alias_name: 'order',
      name: 'A name',
      topic: 'A topic',
      initial_state: [{ type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } }],
      invite: ['@bob:test'],
      preset: 'private_chat',
    });
    expect((await timeline('alice', roomId)).map((event) => event.type)).to.deep.equal([
      'm.room.create',
      'm.room.member',
      'm.room.power_levels',
      'm.room.canonical_alias',
      'm.room.join_rules',
      'm.room.history_visibility',
      'm.room.guest_access',
      'm.room.encryption',
      'm.room.name',
      'm.room.topic',
      'm.room.member',
    ]);
  });

  it('takes first events that are large together, each of which is an event', async () => {
    const large = (count: number, size: number): object => ({
      initial_state: Array.from({ length: count }, (_, n) => ({
        type: 'org.example.large',
        state_key: `${n}`,
        content: { text: 'あ'.repeat(size / 3) },
      })),
    });
    const roomId = await server.room('alice', large(3, 60_000));
    expect((await timeline('alice', roomId)).filter(({ type }) => type === 'org.example.large')).to.have.length(3);
    for (const wish of [large(1, 66_000), large(1, 65_400), { topic: 'x'.repeat(40_000) }]) {
      const { status, body } = await server.ask('alice', 'POST', '/createRoom', wish);
      expect([status, body['errcode']]).to.deep.equal([413, 'M_TOO_LARGE']);
      expect(body['error']).to.match(/^An event must not have more than 65536 bytes/);
    }
    const { status, body } = await server.ask('alice', 'POST', '/createRoom', large(18, 60_000));
    expect([status, body['errcode']]).to.deep.equal([413, 'M_TOO_LARGE']);
    expect(body['error']).to.match(/^The body is larger than/);
  });

  for (const [preset, rule, guests] of [
    ['private_chat', 'invite', true],
    ['trusted_private_chat', 'invite', true],
    ['public_chat', 'public', false],
  ] as const) {
    it(`sets what ${preset} stands for`, async () => {
      const roomId = await server.room('alice', { preset });
      expect(await state(roomId, 'm.room.join_rules')).to.deep.equal({ join_rule: rule });
      expect(await state(roomId, 'm.room.history_visibility')).to.deep.equal({ history_visibility: 'shared' });
      expect((await server.ask('alice', 'GET', `/rooms/${roomId}/state/m.room.guest_access`)).status).to.equal(
        guests ? 200 : 404,
      );
    });
  }

  it('takes the preset from the visibility when none is named', async () => {
    expect(await state(await server.room('alice', { visibility: 'public' }), 'm.room.join_rules')).to.deep.equal({
      join_rule: 'public',
    });
    expect(await state(await server.room('alice', {}), 'm.room.join_rules')).to.deep.equal({ join_rule: 'invite' });
    expect(await state(await server.room('alice'), 'm.room.join_rules')).to.deep.equal({ join_rule: 'invite' });
  });

  for (let version = 1; version <= 12; version++) {
    it(`makes rooms of version ${version} in which messages can be sent and redacted`, async () => {
      const roomId = await server.room('alice', { room_version: String(version), preset: 'public_chat' });
      const create = await state(roomId, 'm.room.create');
      expect(create['room_version']).to.equal(String(version));
      expect(create['creator']).to.equal(version < 11 ? '@alice:test' : undefined);
      await server.join('bob', roomId);
      const eventId = await server.say('bob', roomId, 'hello');
      await server.must('bob', 'PUT', `/rooms/${roomId}/redact/${encodeURIComponent(eventId)}/r${version}`, {
        reason: 'typo',
      });
      const event = await server.must('alice', 'GET', `/rooms/${roomId}/event/${encodeURIComponent(eventId)}`);
      expect(event.content).to.deep.equal({});
      expect(event.unsigned.redacted_because.content.reason).to.equal('typo');
      expect(event.unsigned.redacted_because.content.redacts ?? event.unsigned.redacted_because.redacts).to.equal(
        eventId,
      );
    });
  }

  it('answers 400 M_BAD_JSON for a room version that is a number', async () => {
    const answer = await server.ask('alice', 'POST', '/createRoom', { room_version: 11 });
    expect([answer.status, answer.body.errcode]).to.deep.equal([400, 'M_BAD_JSON']);
  });

  it('answers 400 M_UNSUPPORTED_ROOM_VERSION for one that is not known', async () => {
    const answer = await server.ask('alice', 'POST', '/createRoom', {
      room_version: 'ahfgwjyerhgiuveisbruvybseyrugvi',
    });
    expect([answer.status, answer.body.errcode]).to.deep.equal([400, 'M_UNSUPPORTED_ROOM_VERSION']);
  });

  it('ignores creation_content.room_version and keeps the rest of it', async () => {
    const roomId = await server.room('alice', {
      room_version: '11',
      creation_content: { room_version: 'nonsense', 'm.federate': false, type: 'm.space' },
    });
    expect(await state(roomId, 'm.room.create')).to.deep.equal({
      room_version: '11',
      'm.federate': false,
      type: 'm.space',
    });
  });

  it('writes a topic as m.topic too, and leaves one from initial_state untouched', async () => {
    const initial = [{ type: 'm.room.topic', state_key: '', content: { topic: 'given' } }];
    const plain = await server.room('alice', { initial_state: initial });
    expect(await state(plain, 'm.room.topic')).to.deep.equal({ topic: 'given' });
    const both = await server.room('alice', { initial_state: initial, topic: 'wins' });
    expect(await state(both, 'm.room.topic')).to.deep.equal({
      topic: 'wins',
      'm.topic': { 'm.text': [{ body: 'wins' }] },
    });
  });

  it('lets initial_state win over the preset', async () => {
    const roomId = await server.room('alice', {
      preset: 'public_chat',
      initial_state: [
        { type: 'm.room.join_rules', content: { join_rule: 'knock' } },
        { type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'joined' } },
      ],
    });
    expect(await state(roomId, 'm.room.join_rules')).to.deep.equal({ join_rule: 'knock' });
    expect(await state(roomId, 'm.room.history_visibility')).to.deep.equal({ history_visibility: 'joined' });
  });

  it('lays power_level_content_override over the defaults', async () => {
    const roomId = await server.room('alice', {
      room_version: '11',
      power_level_content_override: { events_default: 7, users: { '@alice:test': 100, '@bob:test': 9 } },
    });
    const levels = await state(roomId, 'm.room.power_levels');
    expect(levels['events_default']).to.equal(7);
    expect(levels['users']).to.deep.equal({ '@alice:test': 100, '@bob:test': 9 });
    expect(levels['state_default']).to.equal(50);
  });

  it('answers 400 M_INVALID_ROOM_STATE when the creator could not set the name', async () => {
    const answer = await server.ask('alice', 'POST', '/createRoom', {
      room_version: '11',
      name: 'x',
      power_level_content_override: { users: { '@alice:test': 0 } },
    });
    expect([answer.status, answer.body.errcode]).to.deep.equal([400, 'M_INVALID_ROOM_STATE']);
  });

  it('gives the invited of a trusted chat the power of the creator', async () => {
    const roomId = await server.room('alice', {
      room_version: '11',
      preset: 'trusted_private_chat',
      invite: ['@bob:test'],
    });
    expect((await state(roomId, 'm.room.power_levels'))['users']).to.deep.equal({
      '@alice:test': 100,
      '@bob:test': 100,
    });
  });

  describe('in room version 12', () => {
    it('lists no creator among the users, and asks for level 150 for a tombstone', async () => {
      const roomId = await server.room('alice', {});
      const levels = await state(roomId, 'm.room.power_levels');
      expect(levels['users']).to.deep.equal({});
      expect(levels['events']['m.room.tombstone']).to.equal(150);
      const [create] = await timeline('alice', roomId);
      expect(create?.room_id).to.equal(roomId);
      expect(`!${create?.event_id.slice(1)}`).to.equal(roomId);
    });
    it('keeps the level for a tombstone above state_default, unless another one is asked for', async () => {
      const tombstone = async (override: object): Promise<number> => {
        const roomId = await server.room('alice', { power_level_content_override: override });
        return (await state(roomId, 'm.room.power_levels'))['events']['m.room.tombstone'];
      };
      expect(await tombstone({ events: { 'm.room.name': 0 } })).to.equal(150);
      expect(await tombstone({ state_default: 200 })).to.equal(201);
      expect(await tombstone({ events: { 'm.room.tombstone': 75 } })).to.equal(75);
      const roomId = await server.room('alice', {
        initial_state: [{ type: 'm.room.power_levels', content: { users: { '@bob:test': 100 } } }],
      });
      expect(await state(roomId, 'm.room.power_levels')).to.deep.equal({
        users: { '@bob:test': 100 },
        events: { 'm.room.tombstone': 150 },
      });
    });
    it('makes the invited of a trusted chat additional creators', async () => {
      const roomId = await server.room('alice', {
        preset: 'trusted_private_chat',
        invite: ['@bob:test'],
        creation_content: { additional_creators: ['@carol:test'] },
      });
      expect((await state(roomId, 'm.room.create'))['additional_creators']).to.deep.equal(['@carol:test', '@bob:test']);
      expect((await state(roomId, 'm.room.power_levels'))['users']).to.deep.equal({});
    });
    it('answers 400 for additional_creators that are no list of user ids, and for creators among the users', async () => {
      for (const wish of [
        { creation_content: { additional_creators: 'no' } },
        { creation_content: { additional_creators: ['bob'] } },
        { creation_content: { additional_creators: [{}] } },
        { power_level_content_override: { users: { '@alice:test': 100 } } },
      ]) {
        expect((await server.ask('alice', 'POST', '/createRoom', wish)).status, JSON.stringify(wish)).to.equal(400);
      }
      const roomId = await server.room('alice', {});
      const put = await server.ask('alice', 'PUT', `/rooms/${roomId}/state/m.room.power_levels/`, {
        users: { '@alice:test': 100 },
      });
      expect(put.status).to.equal(400);
    });
  });

  it('invites with is_direct and with the profiles of both', async () => {
    await server.setProfile('alice', { displayname: 'Alice', avatar_url: 'mxc://test/alice' });
    await server.setProfile('bob', { displayname: 'Bob' });
    const roomId = await server.room('alice', { invite: ['@bob:test', '@bob:test'], is_direct: true });
    const member = (userId: string): Promise<unknown> =>
      server.must('alice', 'GET', `/rooms/${roomId}/state/m.room.member/${userId}`);
    expect(await member('@alice:test')).to.deep.equal({
      membership: 'join',
      displayname: 'Alice',
      avatar_url: 'mxc://test/alice',
    });
    expect(await member('@bob:test')).to.deep.equal({ membership: 'invite', displayname: 'Bob', is_direct: true });
    await server.setProfile('alice', {});
    await server.setProfile('bob', {});
  });

  it('answers 400 for an invite that is no user id, M_ROOM_IN_USE for an alias that is taken, M_INVALID_PARAM for one that is none', async () => {
    expect((await server.ask('alice', 'POST', '/createRoom', { invite: ['bob'] })).status).to.equal(400);
    await server.room('alice', { room_alias_name: 'taken' });
    const taken = await server.ask('alice', 'POST', '/createRoom', { room_alias_name: 'taken' });
    expect([taken.status, taken.body.errcode]).to.deep.equal([400, 'M_ROOM_IN_USE']);
    const wrong = await server.ask('alice', 'POST', '/createRoom', { room_alias_name: 'a:b' });
    expect([wrong.status, wrong.body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
  });

  it('builds no more than a hundred invitations in one turn, and has made all of them when it answers', async () => {
    const sizes: number[] = [];
    const stop = server.services.stream.on('appended', ({ events }) => {
      sizes.push(events.length);
    });
    const invite = Array.from({ length: 450 }, (_, i) => `@guest-of-honour${i}:test`);
    const roomId = await server.room('alice', { invite });
    stop();
    expect(sizes).to.have.length(5);
    expect(Math.max(...sizes)).to.be.below(120);
    const members = await server.must('alice', 'GET', `/rooms/${roomId}/members?membership=invite`);
    expect(members.chunk.map((event: Json) => event.state_key)).to.have.members(invite);
  });

  it('refuses a canonical alias in initial_state as it is refused later, and takes the one that it makes', async () => {
    const canonical = (content: object, more: object = {}) => ({
      ...more,
      initial_state: [{ type: 'm.room.canonical_alias', content }],
    });
    await server.room('alice', { room_alias_name: 'another' });
    for (const [content, errcode] of [
      [{ alias: '#another:test' }, 'M_BAD_ALIAS'],
      [{ alias: '#nobody:test' }, 'M_BAD_ALIAS'],
      [{ alias: '#new:test', alt_aliases: ['#another:test'] }, 'M_BAD_ALIAS'],
      [{ alias: 'another' }, 'M_INVALID_PARAM'],
      [{ alias: 7 }, 'M_INVALID_PARAM'],
      [{ alt_aliases: '#new:test' }, 'M_INVALID_PARAM'],
    ] as const) {
      const { status, body } = await server.ask(
        'alice',
        'POST',
        '/createRoom',
        canonical(content, { room_alias_name: 'new' }),
      );
      expect([status, body.errcode], JSON.stringify(content)).to.deep.equal([400, errcode]);
    }
    const own = { alias: '#new:test', alt_aliases: ['#new:test'] };
    const made = await server.room('alice', canonical(own, { room_alias_name: 'new' }));
    expect(await state(made, 'm.room.canonical_alias')).to.deep.equal(own);
    expect(await state(await server.room('alice', canonical({})), 'm.room.canonical_alias')).to.deep.equal({});
  });

  it('answers 400 for a NUL in a name, a type, a state key or a type of room, and keeps it in the content of initial state', async () => {
    for (const [wish, errcode] of [
      [{ name: 'a\0b' }, 'M_INVALID_PARAM'],
      [{ initial_state: [{ type: 'a\0', content: {} }] }, 'M_INVALID_PARAM'],
      [{ initial_state: [{ type: 'a', state_key: '\0', content: {} }] }, 'M_INVALID_PARAM'],
      [{ creation_content: { type: '\0' } }, 'M_BAD_JSON'],
    ] as const) {
      const { status, body } = await server.ask('alice', 'POST', '/createRoom', wish);
      expect([status, body.errcode]).to.deep.equal([400, errcode]);
    }
    const named = { initial_state: [{ type: 'm.room.name', content: { name: 'a\0b' } }] };
    expect(await state(await server.room('alice', named), 'm.room.name')).to.deep.equal({ name: 'a\0b' });
  });

  it('leaves no creator in creation_content, also where versions have none', async () => {
    for (const [version, expected] of [
      ['10', '@alice:test'],
      ['11', undefined],
      ['12', undefined],
    ]) {
      const wish = { room_version: version, creation_content: { creator: '@eve:test' } };
      expect((await state(await server.room('alice', wish), 'm.room.create'))['creator']).to.equal(expected);
    }
  });

  it('gives an alias that several ask for at once to one room', async () => {
    const answers = await Promise.all(
      Array.from({ length: 4 }, () => server.ask('alice', 'POST', '/createRoom', { room_alias_name: 'wanted' })),
    );
    expect(answers.map(({ status, body }) => body.errcode ?? status).sort()).to.deep.equal([
      200,
      'M_ROOM_IN_USE',
      'M_ROOM_IN_USE',
      'M_ROOM_IN_USE',
    ]);
  });

  it('makes two rooms of one wish made twice at the same moment', async () => {
    const [one, other] = await Promise.all([server.room('alice', {}), server.room('alice', {})]);
    expect(one).not.to.equal(other);
  });

  it('refuses guests', async () => {
    const answer = await server.ask('guest-1', 'POST', '/createRoom', {});
    expect([answer.status, answer.body.errcode]).to.deep.equal([403, 'M_GUEST_ACCESS_FORBIDDEN']);
  });

  it('writes a whole room in one statement once it is warmed up', async () => {
    await server.room('alice', { name: 'a', topic: 'b' });
    expect(await server.statements(() => server.room('alice', { name: 'c', topic: 'd' }))).to.be.at.most(2);
  });

  it('finds the room again after a restart', async () => {
    const roomId = await server.room('alice', { name: 'lasting' });
    await server.restart();
    expect(await state(roomId, 'm.room.name')).to.deep.equal({ name: 'lasting' });
    await server.say('alice', roomId, 'still here');
  });
});
