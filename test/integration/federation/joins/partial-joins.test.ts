import { expect } from 'chai';
import type { BuiltPdu } from '#src/protocol/events/build-pdu.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { Answer, InProcessServer, Json } from '#test/support/in-process-server.ts';
import { type Federation, type RemotePartner, startFederation } from '#test/support/federation/federation.ts';
import { eventIdBytes } from '#src/services/room-model/event/event-ids.ts';
import { loadMigrations } from '#src/storage/migrator.ts';
import { sql } from '#src/storage/statement.ts';
import { PartialRoom, whetherItWaits } from '#test/support/federation/partial-room.ts';
import { until } from '#test/support/until.ts';

const MEMBERS = ['@m1:p.test', '@m2:p.test', '@m3:p.test'];
const LAZY = encodeURIComponent(JSON.stringify({ room: { state: { lazy_load_members: true } } }));
const NOT_WHOLE = 'ORG.MATRIX.MSC3895_UNABLE_DUE_TO_PARTIAL_STATE';

describe('a room that is joined before its members are known', function () {
  this.timeout(60_000);
  let federation: Federation;
  let a: InProcessServer;
  let p: RemotePartner;
  let q: RemotePartner;

  before(async () => {
    federation = await startFederation(['a.test'], {
      partners: ['p.test', 'q.test'],
      server: { config: { federation: { fasterJoinsWaitMs: 0 }, rateLimits: { enabled: false } } },
    });
    a = federation.server('a.test');
    p = federation.partner('p.test');
    q = federation.partner('q.test');
    for (const partner of [p, q]) partner.on('PUT', '/_matrix/federation/v1/send/*', () => ({ body: { pdus: {} } }));
  });
  after(() => federation?.stop());

  const at = (room: PartialRoom): string => `/rooms/${encodeURIComponent(room.roomId)}`;
  const join = (room: PartialRoom, token = 'alice'): ReturnType<InProcessServer['ask']> =>
    a.ask(token, 'POST', `/join/${encodeURIComponent(room.roomId)}?via=p.test`, {});
  /** A room that alice has joined, and whose members nobody has told. */
  const joined = async (members: readonly string[] = MEMBERS, servers = ['p.test', 'q.test']): Promise<PartialRoom> => {
    const room = new PartialRoom(p, members, servers);
    const { body, status } = await join(room);
    expect(status, JSON.stringify(body)).to.equal(200);
    expect((await a.services.rooms.byId(room.roomId))?.partial).not.to.equal(undefined);
    return room;
  };
  /** The members are told. */
  const complete = async (room: PartialRoom): Promise<void> => {
    room.open();
    await until('the state is whole', async () => (await a.services.rooms.byId(room.roomId))?.partial === undefined);
    await federation.idle();
  };
  const send = async (...events: readonly { readonly pdu: JsonObject }[]): Promise<void> => {
    const { body, status } = await p.transact('a.test', { pdus: events.map(({ pdu }) => pdu) });
    expect(status, JSON.stringify(body)).to.equal(200);
    await a.services.inboundQueue.idle();
  };
  const members = async (room: PartialRoom): Promise<Record<string, string>> => {
    const { chunk } = await a.must('alice', 'GET', `${at(room)}/members`);
    return Object.fromEntries(chunk.map((event: Json) => [event.state_key, event.content.membership]));
  };

  it('takes messages at once, which go to the servers that are said to be in it', async () => {
    const room = await joined();
    const eventId = await a.say('alice', room.roomId, 'already here');
    for (const partner of [p, q]) {
      const { body } = await partner.request('PUT', /\/send\//, ({ body: sent }) =>
        sent.pdus.some((pdu: Json) => pdu.content.body === 'already here' && pdu.room_id === room.roomId),
      );
      expect(body.origin).to.equal('a.test');
    }
    await complete(room);
    expect((await a.must('alice', 'GET', `${at(room)}/event/${encodeURIComponent(eventId)}`)).content.body).to.equal(
      'already here',
    );
  });

  it('is in the syncs of clients that load members lazily at once, and in those of others when the members are known', async () => {
    const room = new PartialRoom(p, MEMBERS, ['p.test']);
    const { next_batch: since } = await a.must('alice', 'GET', '/sync');
    const { next_batch: lazySince } = await a.must('alice', 'GET', `/sync?filter=${LAZY}`);
    expect((await join(room)).status).to.equal(200);
    const lazy = await a.must('alice', 'GET', `/sync?since=${lazySince}&filter=${LAZY}`);
    expect(lazy.rooms.join).to.have.property(room.roomId);
    const eager = await a.must('alice', 'GET', `/sync?since=${since}`);
    expect(eager.rooms?.join ?? {}).not.to.have.property(room.roomId);
    expect((await a.must('alice', 'GET', '/sync')).rooms?.join ?? {}).not.to.have.property(room.roomId);
    await complete(room);
    const whole = (await a.must('alice', 'GET', `/sync?since=${eager.next_batch}`)).rooms.join[room.roomId];
    const shown = [...whole.state.events, ...whole.timeline.events].flatMap((event: Json) =>
      event.type === 'm.room.member' ? event.state_key : [],
    );
    expect(shown).to.have.members([room.creator, ...MEMBERS, '@alice:a.test']);
    const later = (await a.must('alice', 'GET', `/sync?since=${lazy.next_batch}&filter=${LAZY}`)).rooms.join[
      room.roomId
    ];
    expect(later.summary['m.joined_member_count']).to.equal(MEMBERS.length + 2);
    expect(later.timeline.events).to.deep.equal([]);
  });

  it('is in the lists of sliding sync at once where members are loaded lazily, and in others when they are known', async () => {
    const room = new PartialRoom(p, MEMBERS, ['p.test']);
    expect((await join(room)).status).to.equal(200);
    const sync = async (token: string, required: readonly string[], pos?: string): Promise<Json> => {
      const wish = { timeline_limit: 5, required_state: [['m.room.create', ''], required] };
      const path = `/_matrix/client/unstable/org.matrix.simplified_msc3575/sync${pos === undefined ? '' : `?pos=${pos}`}`;
      return a.must(token, 'POST', path, {
        conn_id: required.join(''),
        lists: { all: { ...wish, ranges: [[0, 9]] } },
        room_subscriptions: { [room.roomId]: wish },
      });
    };
    const hero = MEMBERS[0] as string;
    const lazily = ['m.room.member', '$LAZY'];
    const eagerly = [
      ['m.room.member', '*'],
      ['*', '*'],
      ['m.room.member', hero],
    ] as const;
    const first = await sync('alice', lazily);
    expect(first.rooms).to.have.property(room.roomId);
    expect((await sync('alice', ['m.room.member', '$ME'])).rooms).to.have.property(room.roomId);
    const waiting: Json[] = [];
    for (const required of eagerly) {
      const answer = await sync('alice', required);
      expect(answer.rooms, String(required)).not.to.have.property(room.roomId);
      waiting.push(answer);
    }
    const { count } = waiting[0].lists.all;
    await complete(room);
    const later = (await sync('alice', lazily, first.pos)).rooms[room.roomId];
    expect([later.initial, later.joined_count]).to.deep.equal([undefined, MEMBERS.length + 2]);
    expect(later.heroes.map(({ user_id: userId }: Json) => userId)).to.include(hero);
    for (const [index, required] of eagerly.entries()) {
      const whole = await sync('alice', required, waiting[index].pos);
      expect(whole.lists.all.count, String(required)).to.equal(count + 1);
      expect(whole.rooms[room.roomId].initial, String(required)).to.equal(true);
      const shown = whole.rooms[room.roomId].required_state.map((event: Json) => event.state_key);
      expect(shown, String(required)).to.include(hero);
    }
  });

  it('is in the initialSync of clients of old when its members are known, and holds up none of their other rooms', async () => {
    const other = await a.room('olga');
    const room = new PartialRoom(p, MEMBERS, ['p.test']);
    expect((await join(room, 'olga')).status).to.equal(200);
    const rooms = async (): Promise<string[]> =>
      (await a.must('olga', 'GET', '/initialSync')).rooms.map((one: Json) => one.room_id);
    expect(await rooms()).to.deep.equal([other]);
    await complete(room);
    expect(await rooms()).to.have.members([other, room.roomId]);
  });

  it('lets requests for its members wait until they are known', async () => {
    const room = await joined();
    const waiting = [
      members(room),
      a.must('alice', 'GET', `${at(room)}/joined_members`),
      a.must('alice', 'GET', `${at(room)}/state`),
      a.must('alice', 'GET', `${at(room)}/state/m.room.member/@m1:p.test`),
    ] as const;
    expect((await a.must('alice', 'GET', `${at(room)}/state/m.room.join_rules`)).join_rule).to.equal('public');
    await complete(room);
    const [told, { joined: present }, state, one] = await Promise.all(waiting);
    const expected = [room.creator, ...MEMBERS, '@alice:a.test'];
    expect(Object.keys(told)).to.have.members(expected);
    expect(Object.keys(present)).to.have.members(expected);
    expect(state.filter(({ type }: Json) => type === 'm.room.member')).to.have.lengthOf(expected.length);
    expect(one.displayname).to.equal('Name of @m1:p.test');
  });

  it('answers those requests with an error when that takes too long', async () => {
    const room = await joined();
    let isAnswered = false;
    const answer = a.ask('alice', 'GET', `${at(room)}/members`).finally(() => (isAnswered = true));
    await until('it is answered', async () => {
      await federation.clock.advance(10_000);
      return isAnswered;
    });
    const { body, status } = await answer;
    expect([status, body.errcode]).to.deep.equal([503, 'M_UNKNOWN']);
    await complete(room);
  });

  it('shows what members say meanwhile, with who they are', async () => {
    const room = await joined();
    const { next_batch: since } = await a.must('alice', 'GET', `/sync?filter=${LAZY}`);
    await send(room.say('@m1:p.test', 'hello'), room.say('@m1:p.test', 'again'));
    const { state, timeline } = (await a.must('alice', 'GET', `/sync?since=${since}&filter=${LAZY}`)).rooms.join[
      room.roomId
    ];
    expect(timeline.events.map((event: Json) => event.content.body)).to.deep.equal(['hello', 'again']);
    expect(state.events.map((event: Json) => event.content.displayname)).to.deep.equal(['Name of @m1:p.test']);
    await complete(room);
    expect(Object.keys(await members(room))).to.have.lengthOf(MEMBERS.length + 2);
  });

  it('answers a request for an event by id as soon as the event arrives', async () => {
    const room = await joined();
    const said = room.say('@m1:p.test', 'asked for early');
    p.on('GET', `/_matrix/federation/v1/event/${encodeURIComponent(said.eventId)}`, () => ({ status: 404, body: {} }));
    const asked = a.ask('alice', 'GET', `${at(room)}/event/${encodeURIComponent(said.eventId)}`);
    await send(said);
    const { body, status } = await asked;
    expect([status, body.content?.body]).to.deep.equal([200, 'asked for early']);
    expect((await a.services.rooms.byId(room.roomId))?.partial).not.to.equal(undefined);
    await complete(room);
  });

  it('has an alias that names the servers of which it is only known that they are in it', async () => {
    const room = await joined();
    const alias = `/directory/room/${encodeURIComponent(`#partial-${room.last.eventId.slice(1, 9)}:a.test`)}`;
    await a.must('alice', 'PUT', alias, { room_id: room.roomId });
    expect((await a.must('alice', 'GET', alias)).servers).to.have.members(['a.test', 'p.test', 'q.test']);
    await complete(room);
  });

  it('shows what happened beside the join, which its server did not know yet', async () => {
    const room = new PartialRoom(p, MEMBERS, ['p.test']);
    const beside = room.beside({
      type: 'm.room.message',
      sender: '@m2:p.test',
      content: { body: 'beside', msgtype: 'm.text' },
    });
    expect((await join(room)).status).to.equal(200);
    await send(beside);
    await complete(room);
    const { content } = await a.must('alice', 'GET', `${at(room)}/event/${encodeURIComponent(beside.eventId)}`);
    expect(content.body).to.equal('beside');
    expect(Object.keys(await members(room))).to.have.lengthOf(MEMBERS.length + 2);
  });

  it('rejects events that the full state does not allow: messages and state of a user who was banned before', async () => {
    const room = new PartialRoom(p, MEMBERS, ['p.test']);
    const before = room.state.get('m.room.member\0@m3:p.test')!;
    const auth = room.authOf({ type: 'm.room.message', sender: '@m3:p.test', content: {} });
    room.ban('@m3:p.test');
    expect((await join(room)).status).to.equal(200);
    const said = room.beside({
      type: 'm.room.message',
      sender: '@m3:p.test',
      content: { body: 'banned', msgtype: 'm.text' },
      auth,
    });
    const renamed = room.beside({
      type: 'm.room.member',
      sender: '@m3:p.test',
      stateKey: '@m3:p.test',
      content: { membership: 'join', displayname: 'Still here' },
      auth: [
        ...room
          .authOf({ type: 'm.room.join_rules', sender: room.creator, content: {} })
          .filter((id) => id !== before.eventId)
          .slice(0, 2),
        before.eventId,
        room.state.get('m.room.join_rules\0')!.eventId,
      ],
    });
    await send(said);
    await send(renamed);
    const path = (id: string): string => `${at(room)}/event/${encodeURIComponent(id)}`;
    expect((await a.ask('alice', 'GET', path(said.eventId))).status, 'as long as nothing else is known').to.equal(200);
    expect((await a.ask('alice', 'GET', path(renamed.eventId))).status).to.equal(200);
    await complete(room);
    expect((await a.ask('alice', 'GET', path(said.eventId))).status).to.equal(404);
    expect((await a.ask('alice', 'GET', path(renamed.eventId))).status).to.equal(404);
    expect((await members(room))['@m3:p.test']).to.equal('ban');
    const { chunk } = await a.must('alice', 'GET', `${at(room)}/messages?dir=b&limit=50`);
    expect(chunk.map((event: Json) => event.content.body)).not.to.include('banned');
    await a.restart();
    expect((await members(room))['@m3:p.test']).to.equal('ban');
    expect((await a.ask('alice', 'GET', path(said.eventId))).status).to.equal(404);
  });

  it('continues after what rejected events came after, so that other servers can receive what comes next', async () => {
    const room = new PartialRoom(p, MEMBERS, ['p.test', 'q.test']);
    room.ban('@m3:p.test');
    expect((await join(room)).status).to.equal(200);
    const good = room.say('@m1:p.test', 'good');
    const bans = [...room.events.values()]
      .filter(({ pdu }) => pdu.state_key === '@m3:p.test')
      .map((one) => one.eventId);
    const bad = ['one', 'two'].map((body) =>
      room.add({
        type: 'm.room.message',
        sender: '@m3:p.test',
        content: { msgtype: 'm.text', body },
        // It claims that it was never banned.
        auth: [
          ...room
            .authOf({ type: 'm.room.message', sender: '@m3:p.test', content: {} })
            .filter((id) => !bans.includes(id)),
          bans[0] ?? '',
        ],
      }),
    );
    await send(good, ...bad);
    const at0 = (await a.services.rooms.byId(room.roomId))!;
    expect(at0.head.extremities.map(({ eventId }) => eventId)).to.deep.equal([bad[1]!.eventId]);
    await complete(room);
    const extremities = async (): Promise<string[]> =>
      (await a.services.rooms.byId(room.roomId))!.head.extremities.map(({ eventId }) => eventId);
    expect(await extremities()).to.deep.equal([good.eventId]);
    await a.restart();
    expect(await extremities()).to.deep.equal([good.eventId]);
    // As it was left by a server that did not do so.
    const { database } = a.services;
    await database.query(
      sql(
        'test_rejected_extremity',
        'update room_tail set extremities = array(select nid from events where event_id = $1) where room = $2',
      ),
      [eventIdBytes(bad[1]!.eventId), (await a.services.rooms.byId(room.roomId))!.nid],
    );
    const migrations = await loadMigrations();
    const { class: Healing } = migrations.find(({ name }) => name.endsWith('_rejected_extremities'))!;
    const healing = new Healing(undefined as never, undefined as never);
    await healing.up();
    for (const text of healing.getQueries()) await database.query(sql('test_heal_extremities', text as string));
    await a.restart();
    expect(await extremities()).to.deep.equal([good.eventId]);
    await a.say('alice', room.roomId, 'after it');
    const { body } = await p.request('PUT', /\/send\//, ({ body: sent }) =>
      sent.pdus.some((pdu: Json) => pdu.content.body === 'after it' && pdu.room_id === room.roomId),
    );
    const said = body.pdus.find((pdu: Json) => pdu.content.body === 'after it');
    expect(said.prev_events).to.deep.equal([good.eventId]);
  });

  /** A room in which `@m3` says after the join that `@m1` is banned, though `@m3` had left before: with what `@m1` says next. */
  const wronglyBanned = async (): Promise<{ readonly room: PartialRoom; readonly said: readonly BuiltPdu[] }> => {
    const room = new PartialRoom(p, MEMBERS, ['p.test']);
    const create = room.state.get('m.room.create\0')!.eventId;
    const levels = room.add({
      type: 'm.room.power_levels',
      sender: room.creator,
      stateKey: '',
      content: { users: { [room.creator]: 100, '@m3:p.test': 100 } },
    }).eventId;
    const [before, victim] = ['@m3:p.test', '@m1:p.test'].map((id) => room.state.get(`m.room.member\0${id}`)!.eventId);
    room.add({
      type: 'm.room.member',
      sender: '@m3:p.test',
      stateKey: '@m3:p.test',
      content: { membership: 'leave' },
    });
    expect((await join(room)).status).to.equal(200);
    const ban = room.add({
      type: 'm.room.member',
      sender: '@m3:p.test',
      stateKey: '@m1:p.test',
      content: { membership: 'ban' },
      auth: [create, levels, before!, victim!],
    });
    const auth = [create, levels, victim!];
    const said = ['one', 'two'].map((body) =>
      room.add({ type: 'm.room.message', sender: '@m1:p.test', content: { msgtype: 'm.text', body }, auth }),
    );
    await send(ban, ...said);
    return { room, said };
  };

  it('accepts what was refused because of an event that does not stand, and shows it to everybody', async () => {
    const { room, said } = await wronglyBanned();
    const path = (id: string): string => `${at(room)}/event/${encodeURIComponent(id)}`;
    const { next_batch: since } = await a.must('alice', 'GET', `/sync?filter=${LAZY}`);
    for (const { eventId } of said) expect((await a.ask('alice', 'GET', path(eventId))).status).to.equal(404);
    await complete(room);
    await until('they are shown', async () => {
      await federation.clock.advance(1_000);
      return (await a.ask('alice', 'GET', path(said[1]!.eventId))).status === 200;
    });
    const { timeline } = (await a.must('alice', 'GET', `/sync?since=${since}&filter=${LAZY}`)).rooms.join[room.roomId];
    expect(timeline.events.map((event: Json) => event.content.body)).to.deep.equal(['one', 'two']);
    expect((await members(room))['@m1:p.test']).to.equal('join');
    await a.restart();
    expect((await a.must('alice', 'GET', path(said[0]!.eventId))).content.body).to.equal('one');
    expect((await members(room))['@m1:p.test']).to.equal('join');
  });

  it('drops device lists of users who turn out not to be members', async () => {
    const room = new PartialRoom(p, [...MEMBERS, '@lone:p.test'], ['p.test']);
    const before = room.authOf({ type: 'm.room.message', sender: '@lone:p.test', content: {} });
    room.ban('@lone:p.test');
    expect((await join(room)).status).to.equal(200);
    p.on('GET', '/_matrix/federation/v1/user/devices/*', ({ path }) => ({
      body: { user_id: decodeURIComponent(path.split('/').at(-1)!), stream_id: 1, devices: [] },
    }));
    await send(
      room.beside({
        type: 'm.room.message',
        sender: '@lone:p.test',
        content: { msgtype: 'm.text', body: 'I am here' },
        auth: before,
      }),
    );
    const asked = (): number => p.requests('GET', /\/user\/devices\/.*lone/).length;
    const query = (): Promise<Json> => a.must('alice', 'POST', '/keys/query', { device_keys: { '@lone:p.test': [] } });
    await query();
    await query();
    const known = asked();
    const lists = async (): Promise<number> =>
      (
        await a.services.database.query(
          sql('test_believed_lists', 'select 1 from remote_device_lists where user_id = $1'),
          ['@lone:p.test'],
        )
      ).length;
    expect([await lists(), known], 'as long as nothing else is known').to.deep.equal([1, 1]);
    await complete(room);
    await until('it is forgotten', async () => {
      await federation.clock.advance(1_000);
      return (await lists()) === 0;
    });
  });

  it('tells servers that turned out to be there of the devices of its users', async () => {
    const room = new PartialRoom(p, MEMBERS, ['p.test']);
    Object.assign(room, {
      signedBy: (sender: string) =>
        sender.endsWith(':q.test') ? { signingKey: q.signingKey, serverName: 'q.test' } : {},
    });
    room.enter('@untold:q.test');
    expect((await join(room, 'dora')).status).to.equal(200);
    const { device_id: deviceId, user_id: userId } = await a.must('dora', 'GET', '/account/whoami');
    const keys = { [`ed25519:${deviceId}`]: 'A'.repeat(43), [`curve25519:${deviceId}`]: 'B'.repeat(43) };
    const deviceKeys = { user_id: userId, device_id: deviceId, algorithms: [], keys, signatures: {} };
    await a.must('dora', 'POST', '/keys/upload', { device_keys: deviceKeys });
    const isIt = ({ body }: { body: Json }): boolean =>
      (body.edus ?? []).some((edu: Json) => edu.edu_type === 'm.device_list_update' && edu.content.user_id === userId);
    await p.request('PUT', /\/send\//, isIt);
    expect(q.requests('PUT', /\/send\//).some(isIt)).to.equal(false);
    room.open();
    await until('it is told', async () => {
      await federation.clock.advance(1_000);
      await federation.idle();
      return q.requests('PUT', /\/send\//).some(isIt);
    });
  });

  it('keeps what changed since the join, and what was said', async () => {
    const room = await joined();
    await send(
      room.enter('@m1:p.test', { displayname: 'New name' }),
      room.enter('@late:p.test'),
      room.ban('@m2:p.test'),
    );
    await a.say('alice', room.roomId, 'between');
    await complete(room);
    const told = await members(room);
    expect(told).to.deep.equal({
      [room.creator]: 'join',
      '@m1:p.test': 'join',
      '@m2:p.test': 'ban',
      '@m3:p.test': 'join',
      '@late:p.test': 'join',
      '@alice:a.test': 'join',
    });
    expect((await a.must('alice', 'GET', `${at(room)}/state/m.room.member/@m1:p.test`)).displayname).to.equal(
      'New name',
    );
    await a.restart();
    expect(await members(room)).to.deep.equal(told);
    const known = (await a.services.rooms.byId(room.roomId))!;
    const ofState = known.stateChain.members();
    expect(ofState.size).to.equal(Object.keys(told).length);
  });

  it('is completed by the next process, if the first one ends before', async () => {
    const room = await joined();
    await send(room.say('@m1:p.test', 'before the end'));
    await a.restart();
    expect((await a.services.rooms.byId(room.roomId))?.partial).not.to.equal(undefined);
    await complete(room);
    expect(Object.keys(await members(room))).to.have.lengthOf(MEMBERS.length + 2);
  });

  it('is completed by another server when the one that let the user in does not answer, and tried again until one does', async () => {
    const room = new PartialRoom(p, MEMBERS, ['p.test', 'q.test']);
    const path = `/_matrix/federation/v1/state/${encodeURIComponent(room.roomId)}`;
    let answers = false;
    p.on('GET', path, () => ({ status: 500, body: {} }));
    q.on('GET', path, ({ query }) =>
      answers ? { body: room.stateBefore(query.get('event_id')!) } : { body: { pdus: [], auth_chain: [] } },
    );
    expect((await join(room)).status).to.equal(200);
    await until('both were asked', () => q.requests('GET', /\/state\//).some((request) => request.path === path));
    await federation.idle();
    expect((await a.services.rooms.byId(room.roomId))?.partial).not.to.equal(undefined);
    answers = true;
    await federation.clock.advance(30_000);
    await complete(room);
    expect(Object.keys(await members(room))).to.have.lengthOf(MEMBERS.length + 2);
  });

  it('is completed by another server when the one that let the user in tells ids that make no sense, and asks that one for nothing else', async () => {
    const room = new PartialRoom(p, MEMBERS, ['p.test', 'q.test']);
    const path = encodeURIComponent(room.roomId);
    p.on('GET', `/_matrix/federation/v1/state_ids/${path}`, () => ({ body: {} }));
    q.on('GET', `/_matrix/federation/v1/state/${path}`, ({ query }) => ({
      body: room.stateBefore(query.get('event_id')!),
    }));
    expect((await join(room)).status).to.equal(200);
    await complete(room);
    expect(Object.keys(await members(room))).to.have.lengthOf(MEMBERS.length + 2);
    expect(p.requests('GET', /\/state\//).filter((request) => request.path.includes(path))).to.deep.equal([]);
  });

  it('is completed by the state after what the join comes after, for which is asked by ids first, as other servers ask', async () => {
    const room = new PartialRoom(p, MEMBERS, ['p.test']);
    const last = room.last.eventId;
    expect((await join(room)).status).to.equal(200);
    await complete(room);
    const asked = p.asked.filter(
      ({ path }) => path.includes(encodeURIComponent(room.roomId)) && /\/state(_ids)?\//.test(path),
    );
    expect(asked.map(({ path, query }) => [path.split('/')[4], query.get('event_id')])).to.deep.equal([
      ['state_ids', last],
      ['state', last],
    ]);
    // The last of them is itself what the join comes after, and not in the state before it.
    expect(Object.keys(await members(room))).to.have.members([room.creator, ...MEMBERS, '@alice:a.test']);
  });

  for (const [what, answer] of [
    ['bytes', () => Buffer.from(`{"pdu_ids":["${'x'.repeat(17 * 1_048_576)}"],"auth_chain_ids":[]}`)],
    ['ids', () => ({ pdu_ids: Array.from({ length: 250_001 }, () => '$id'), auth_chain_ids: [] })],
  ] as const)
    it(`is completed although the ids of its state have more ${what} than are read at once: a state is read as it comes`, async () => {
      const room = new PartialRoom(p, MEMBERS, ['p.test']);
      p.on('GET', `/_matrix/federation/v1/state_ids/${encodeURIComponent(room.roomId)}`, () => ({ body: answer() }));
      expect((await join(room)).status).to.equal(200);
      await complete(room);
      expect(Object.keys(await members(room))).to.have.members([room.creator, ...MEMBERS, '@alice:a.test']);
    });

  for (const [what, path, status] of [
    ['tells no ids', 'state_ids', 404],
    ['does not know that event', 'event', 404],
  ] as const)
    it(`is completed by the state before the join where the server ${what}`, async () => {
      const room = new PartialRoom(p, MEMBERS, ['p.test']);
      const { last } = room;
      const place = path === 'event' ? last.eventId : room.roomId;
      p.on('GET', `/_matrix/federation/v1/${path}/${encodeURIComponent(place)}`, () => ({ status, body: {} }));
      expect((await join(room)).status).to.equal(200);
      await complete(room);
      expect(Object.keys(await members(room))).to.have.members([room.creator, ...MEMBERS, '@alice:a.test']);
    });

  it('refuses make_join and state requests of other servers until its state is complete', async () => {
    const room = await joined();
    const path = encodeURIComponent(room.roomId);
    const user = encodeURIComponent('@new:q.test');
    const said = room.say('@m1:p.test', 'to be asked for');
    await send(said);
    for (const [method, url, content] of [
      ['GET', `/_matrix/federation/v1/make_join/${path}/${user}?ver=10`, undefined],
      ['GET', `/_matrix/federation/v1/make_knock/${path}/${user}?ver=10`, undefined],
      ['PUT', `/_matrix/federation/v2/send_join/${path}/$x`, {}],
      ['PUT', `/_matrix/federation/v1/send_knock/${path}/$x`, {}],
    ] as const) {
      const { body, status } = await q.send('a.test', method, url, content);
      // By no other error code others know that they have to ask the next server.
      expect([status, body.errcode], url).to.deep.equal([404, 'M_NOT_FOUND']);
    }
    // What it has it gives.
    const event = await q.send('a.test', 'GET', `/_matrix/federation/v1/event/${encodeURIComponent(said.eventId)}`);
    expect(event.body.pdus[0].content.body).to.equal('to be asked for');
    await complete(room);
    // Of q.test nobody is in it, as is known now.
    const { body } = await q.send('a.test', 'GET', `/_matrix/federation/v1/make_join/${path}/${user}?ver=10`);
    expect(body.event.content.membership).to.equal('join');
  });

  it('has servers that ask for a state wait until it is whole, and refuses them when that takes long', async () => {
    const room = await joined();
    const said = room.say('@m1:p.test', 'to be asked for');
    await send(said);
    const { loader, rooms } = a.services;
    const known = (await rooms.byId(room.roomId))!;
    const ask = (what: string, id: string): ReturnType<RemotePartner['send']> => {
      const path = `/_matrix/federation/v1/${what}/${encodeURIComponent(room.roomId)}`;
      return p.send('a.test', 'GET', `${path}?event_id=${encodeURIComponent(id)}`);
    };
    let isRefused = false;
    const refused = ask('state', (await loader.one(known, known.partial!.join))!.eventId);
    void refused.finally(() => (isRefused = true));
    await until('it is refused', async () => {
      await federation.clock.advance(5_000);
      return isRefused;
    });
    const { body, status } = await refused;
    expect([status, body.errcode]).to.deep.equal([404, NOT_WHOLE]);
    const told = ask('state_ids', said.eventId);
    await complete(room);
    const { body: ids } = await told;
    const memberships = [...room.state.values()].filter(({ pdu }) => pdu.type === 'm.room.member');
    expect(ids.pdu_ids).to.include.members(memberships.map(({ eventId }) => eventId));
  });

  it('lets a second user of this server in through another one, which knows who is banned', async () => {
    const room = await joined();
    expect((await join(room, 'bob')).status).to.equal(200);
    const sendJoins = p
      .requests('PUT', /send_join/)
      .filter(({ path }) => path.includes(encodeURIComponent(room.roomId)));
    expect(sendJoins).to.have.lengthOf(2);
    p.on('GET', `/_matrix/federation/v1/make_join/${encodeURIComponent(room.roomId)}/*`, () => ({
      status: 403,
      body: { errcode: 'M_FORBIDDEN', error: 'You are banned.' },
    }));
    const { body, status } = await join(room, 'carol');
    expect([status, body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
    await complete(room);
    expect(await members(room)).to.include({ '@alice:a.test': 'join', '@bob:a.test': 'join' });
  });

  it('can be left, which its servers are told, and joined again', async () => {
    const room = await joined();
    await a.must('alice', 'POST', `${at(room)}/leave`, {});
    await q.request('PUT', /\/send\//, ({ body }) =>
      body.pdus.some((pdu: Json) => pdu.room_id === room.roomId && pdu.content.membership === 'leave'),
    );
    expect((await a.must('alice', 'GET', '/joined_rooms')).joined_rooms).not.to.include(room.roomId);
    room.open();
    await federation.idle();
    expect((await join(room)).status).to.equal(200);
    await complete(room);
    expect((await members(room))['@alice:a.test']).to.equal('join');
  });

  /** A user from whose state nobody asks any more: the server tells it, and nothing comes of it. */
  const asksNoMore = async (room: PartialRoom): Promise<void> => {
    const asked = (): number =>
      p.requests('GET', /\/state(_ids)?\//).filter(({ path }) => path.includes(encodeURIComponent(room.roomId))).length;
    await federation.idle();
    const before = asked();
    await federation.clock.advance(3_600_000);
    await federation.idle();
    expect(asked()).to.equal(before);
  };

  it('asks no more for its members when its only user here is banned, who is told so, and cannot come back', async () => {
    const room = await joined();
    const { next_batch: since } = await a.must('alice', 'GET', `/sync?filter=${LAZY}`);
    await send(room.ban('@alice:a.test'));
    const { rooms } = await a.must('alice', 'GET', `/sync?since=${since}&filter=${LAZY}`);
    expect(rooms.leave).to.have.property(room.roomId);
    p.on('GET', `/_matrix/federation/v1/make_join/${encodeURIComponent(room.roomId)}/*`, () => ({
      status: 403,
      body: { errcode: 'M_FORBIDDEN', error: 'You are banned.' },
    }));
    expect((await join(room)).status).to.equal(403);
    await asksNoMore(room);
    await a.restart();
    await asksNoMore(room);
    room.open();
  });

  it('does not let a user in whose join comes after a ban that is known here, whatever another server answers', async () => {
    const room = await joined();
    await send(room.ban('@alice:a.test'));
    const path = encodeURIComponent(room.roomId);
    p.on('PUT', `/_matrix/federation/v2/send_join/${path}/*`, () => {
      const state = [...room.state.values()].filter(({ pdu }) => pdu.type !== 'm.room.member').map(({ pdu }) => pdu);
      const told = { members_omitted: true, servers_in_room: ['p.test'], auth_chain: [], state };
      return { body: { origin: 'p.test', ...told, auth_chain: room.authChain([room.last]).map(({ pdu }) => pdu) } };
    });
    const { body, status } = await join(room);
    expect([status, body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
    expect((await a.must('alice', 'GET', '/joined_rooms')).joined_rooms).not.to.include(room.roomId);
  });

  it('continues to be completed when one of two users here leaves, over a restart too, for the one who stays', async () => {
    const room = await joined();
    expect((await join(room, 'bob')).status).to.equal(200);
    await a.must('alice', 'POST', `${at(room)}/leave`, {});
    await a.restart();
    expect((await a.services.rooms.byId(room.roomId))?.partial).not.to.equal(undefined);
    await complete(room);
    const { chunk } = await a.must('bob', 'GET', `${at(room)}/members`);
    expect(Object.fromEntries(chunk.map((event: Json) => [event.state_key, event.content.membership]))).to.deep.equal({
      ...Object.fromEntries([room.creator, ...MEMBERS, '@bob:a.test'].map((userId) => [userId, 'join'])),
      '@alice:a.test': 'leave',
    });
  });

  for (const forced of [false, true])
    it(`can be deleted meanwhile${forced ? ', although users are in it' : ''}: nothing of it is left, and it can be joined anew`, async () => {
      const room = await joined();
      const { nid } = (await a.services.rooms.byId(room.roomId))!;
      const path = `/_synapse/admin/v2/rooms/${encodeURIComponent(room.roomId)}`;
      const { delete_id: id } = await a.must('admin-a', 'DELETE', path, { purge: true, force_purge: forced });
      const state = async (): Promise<string> =>
        (await a.must('admin-a', 'GET', `/_synapse/admin/v2/rooms/delete_status/${id}`)).status;
      await until('it is deleted', async () => {
        await federation.clock.advance(1_000);
        return (await state()) === 'complete';
      });
      expect(await a.services.rooms.byId(room.roomId)).to.equal(undefined);
      await asksNoMore(room);
      const left = await a.services.database.query(
        sql(
          'test_partial_left',
          'select 1 from partial_rooms where room = $1 union all select 1 from events where room = $1',
        ),
        [nid],
      );
      expect(left).to.deep.equal([]);
      await a.restart();
      expect((await join(room)).status).to.equal(200);
      await complete(room);
      expect((await members(room))['@m1:p.test']).to.equal('join');
    });

  it('lets an invite, a kick and a ban wait until it is known who is there', async () => {
    const room = new PartialRoom(p, [...MEMBERS, '@m4:p.test'], ['p.test', 'q.test']);
    room.add({
      type: 'm.room.power_levels',
      sender: room.creator,
      stateKey: '',
      content: { users: { [room.creator]: 100, '@alice:a.test': 50 } },
    });
    room.ban('@m4:p.test');
    expect((await join(room)).status).to.equal(200);
    const asks = { kick: '@m1:p.test', ban: '@m2:p.test', unban: '@m4:p.test', invite: '@m3:p.test' };
    const answers: Promise<Answer>[] = [];
    for (const [what, userId] of Object.entries(asks)) {
      const { answer, waits } = await whetherItWaits(a, () =>
        a.ask('alice', 'POST', `${at(room)}/${what}`, { user_id: userId }),
      );
      expect(waits, what).to.equal(true);
      answers.push(answer);
    }
    await complete(room);
    const outcomes = (await Promise.all(answers)).map(({ body, status }) => [status, body.errcode]);
    // Who is there is invited no more.
    expect(outcomes).to.deep.equal([
      [200, undefined],
      [200, undefined],
      [200, undefined],
      [403, 'M_FORBIDDEN'],
    ]);
    const { '@m1:p.test': m1, '@m2:p.test': m2, '@m4:p.test': m4 } = await members(room);
    expect([m1, m2, m4]).to.deep.equal(['leave', 'ban', 'leave']);
  });

  it('accepts what comes after a gap when its state is whole, however long that takes, and it keeps back nothing of other rooms', async () => {
    const [m1] = MEMBERS as [string];
    /** The newest of three events, of which the first is not given. */
    const gapIn = (room: PartialRoom): BuiltPdu => {
      const [first, second, third] = ['first', 'second', 'third'].map((body) => room.say(m1, body));
      const enc = encodeURIComponent(room.roomId);
      p.on('POST', `/_matrix/federation/v1/get_missing_events/${enc}`, () => ({ body: { events: [second!.pdu] } }));
      p.on('GET', new RegExp(`/state_ids/${enc.replaceAll('.', '\\.')}`), ({ query }) => {
        const ids = (events: readonly { eventId: string }[]): string[] => events.map(({ eventId }) => eventId);
        const state = [...room.state.values()];
        return query.get('event_id') === first!.eventId
          ? { body: { pdu_ids: ids(state), auth_chain_ids: ids(room.authChain(state)) } }
          : { status: 404 };
      });
      p.on('GET', `/_matrix/federation/v1/event/${encodeURIComponent(first!.eventId)}`, () => ({
        body: { origin: 'p.test', origin_server_ts: 0, pdus: [first!.pdu] },
      }));
      return third as BuiltPdu;
    };
    const whole = await joined();
    await complete(whole);
    const rooms: PartialRoom[] = [];
    for (let n = 0; n < 4; n++) rooms.push(await joined());
    const shown = async (room: PartialRoom): Promise<string[]> =>
      a.bodies(await a.must('alice', 'GET', `${at(room)}/messages?dir=b&limit=10`));
    await p.transact('a.test', { pdus: rooms.map((room) => gapIn(room).pdu) });
    await p.transact('a.test', { pdus: [gapIn(whole).pdu] });
    await a.services.inboundQueue.idle();
    expect((await shown(whole)).slice(0, 2)).to.deep.equal(['third', 'second']);
    for (let minute = 0; minute < 7; minute++) {
      await federation.clock.advance(60_000);
      await a.services.inboundQueue.idle();
    }
    for (const room of rooms) {
      room.open();
      expect(await shown(room)).to.deep.equal([]);
    }
    for (const room of rooms) {
      const held = (await a.services.rooms.byId(room.roomId))!;
      await until('the state is whole', async () => {
        if (held.partial === undefined) return true;
        await federation.clock.advance(60_000);
        return undefined;
      });
      await a.services.inboundQueue.idle();
      expect((await shown(room)).slice(0, 2)).to.deep.equal(['third', 'second']);
    }
    await federation.idle();
  });

  it('does not treat new events as history when a backfill response contains them', async () => {
    const room = await joined();
    const history = [...room.events.values()].slice(0, -1);
    await complete(room);
    const said = [room.say('@m1:p.test', 'one'), room.say('@m2:p.test', 'two')];
    p.on('GET', `/_matrix/federation/v1/backfill/${encodeURIComponent(room.roomId)}`, () => ({
      body: { origin: 'p.test', origin_server_ts: 0, pdus: [...history, ...said].map(({ pdu }) => pdu) },
    }));
    const { next_batch: since } = await a.must('alice', 'GET', '/sync');
    const { chunk } = await a.must('alice', 'GET', `${at(room)}/messages?dir=b&limit=50`);
    expect(chunk.map((event: Json) => event.event_id)).to.include.members(history.map(({ eventId }) => eventId));
    expect(chunk.map((event: Json) => event.content.body)).not.to.include.oneOf(['one', 'two']);
    await send(...said);
    const { timeline } = (await a.must('alice', 'GET', `/sync?since=${since}`)).rooms.join[room.roomId];
    expect(timeline.events.map((event: Json) => event.content.body)).to.deep.equal(['one', 'two']);
  });

  it('has its members in the user directory when they are known', async () => {
    const room = await joined(['@findable:p.test']);
    await complete(room);
    const { results } = await a.must('alice', 'POST', '/user_directory/search', { search_term: 'findable' });
    expect(results).to.deep.equal([{ user_id: '@findable:p.test', display_name: 'Name of @findable:p.test' }]);
  });

  it('accepts typing and receipts of servers in servers_in_room', async () => {
    const room = await joined();
    const { next_batch: since } = await a.must('alice', 'GET', `/sync?filter=${LAZY}`);
    await p.transact('a.test', {
      edus: [{ edu_type: 'm.typing', content: { room_id: room.roomId, user_id: '@m2:p.test', typing: true } }],
    });
    const { ephemeral } = (await a.must('alice', 'GET', `/sync?since=${since}&filter=${LAZY}`)).rooms.join[room.roomId];
    expect(ephemeral.events[0].content.user_ids).to.deep.equal(['@m2:p.test']);
    const receipt = { data: { ts: 1_436_451_550_453 }, event_ids: ['$notHere:p.test'] };
    await p.transact('a.test', {
      edus: [{ edu_type: 'm.receipt', content: { [room.roomId]: { 'm.read': { '@m1:p.test': receipt } } } }],
    });
    for (const query of [`since=${since}&`, '']) {
      const sync = await a.must('alice', 'GET', `/sync?${query}filter=${LAZY}`);
      const shown = sync.rooms.join[room.roomId].ephemeral.events.find(({ type }: Json) => type === 'm.receipt');
      expect(shown.content).to.deep.equal({
        '$notHere:p.test': { 'm.read': { '@m1:p.test': { ts: 1_436_451_550_453 } } },
      });
    }
    await complete(room);
  });

  it('has the clients ask for the devices of its members when these are known', async () => {
    const room = await joined();
    const { next_batch: since } = await a.must('alice', 'GET', `/sync?filter=${LAZY}`);
    await complete(room);
    const { device_lists: lists } = await a.must('alice', 'GET', `/sync?since=${since}&filter=${LAZY}`);
    expect(lists.changed).to.include.members(MEMBERS);
  });

  it('sends the events since the join to servers that were not in servers_in_room', async () => {
    const room = new PartialRoom(p, MEMBERS, ['p.test']);
    Object.assign(room, {
      signedBy: (sender: string) =>
        sender.endsWith(':q.test') ? { signingKey: q.signingKey, serverName: 'q.test' } : {},
    });
    room.enter('@forgotten:q.test');
    expect((await join(room)).status).to.equal(200);
    await a.say('alice', room.roomId, 'for all of you');
    const isIt = ({ body }: { body: Json }): boolean =>
      body.pdus.some((pdu: Json) => pdu.room_id === room.roomId && pdu.content.body === 'for all of you');
    await p.request('PUT', /\/send\//, isIt);
    expect(q.requests('PUT', /\/send\//).some(isIt)).to.equal(false);
    await complete(room);
    await q.request('PUT', /\/send\//, isIt);
  });

  it('is joined as a whole where the server leaves nothing out, or the operator wants it so', async () => {
    const room = new PartialRoom(p, MEMBERS, ['p.test']);
    p.on('PUT', `/_matrix/federation/v2/send_join/${encodeURIComponent(room.roomId)}/*`, () => ({
      body: room.joinAnswer(),
    }));
    expect((await join(room)).status).to.equal(200);
    expect((await a.services.rooms.byId(room.roomId))?.partial).to.equal(undefined);
    expect(Object.keys(await members(room))).to.have.lengthOf(MEMBERS.length + 2);
  });
});
