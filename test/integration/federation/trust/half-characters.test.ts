import { expect } from 'chai';
import { isWellFormedJson, type JsonObject } from '#src/protocol/json/json-value.ts';
import { type Federation, type RemotePartner, startFederation } from '#test/support/federation/federation.ts';
import type { InProcessServer, Json } from '#test/support/in-process-server.ts';
import { JoinableRoom } from '#test/support/federation/joinable-room.ts';
import { PartnerRoom } from '#test/support/federation/partner-room.ts';

const PAT = '@pat:p.test';
const HALF = 'half \ud800';
const V = '/_matrix/federation/v1';

describe('halves of characters, which no UTF-8 can express and many clients cannot parse', function () {
  this.timeout(120_000);
  let federation: Federation;
  let a: InProcessServer;
  let p: RemotePartner;

  before(async () => {
    federation = await startFederation(['a.test'], {
      partners: ['p.test'],
      server: { config: { presence: { federate: true } } },
    });
    a = federation.server('a.test');
    p = federation.partner('p.test');
    await a.session('alice');
    const roomId = await a.room('alice', { preset: 'public_chat' });
    await PartnerRoom.join(a, p, roomId, [PAT]);
  });
  after(() => federation?.stop());

  /** What a client is told, which has to be whole characters. */
  const told = async (method: string, path: string, body?: object): Promise<Json> => {
    const answer = await a.must('alice', method, path, body);
    expect(isWellFormedJson(answer), JSON.stringify(answer)).to.equal(true);
    return answer;
  };
  const send = async (type: string, content: JsonObject): Promise<void> => {
    expect((await p.transact('a.test', { edus: [{ edu_type: type, content }] })).status).to.equal(200);
    await a.idle();
  };
  const keysOf = (userId: string, deviceId: string, more: object = {}): JsonObject => ({
    user_id: userId,
    device_id: deviceId,
    algorithms: ['m.olm.v1.curve25519-aes-sha2'],
    keys: { [`ed25519:${deviceId}`]: 'a'.repeat(43), [`curve25519:${deviceId}`]: 'b'.repeat(43) },
    signatures: { [userId]: { [`ed25519:${deviceId}`]: 'c'.repeat(86) } },
    ...more,
  });

  it('come into no /sync by messages to devices, or by presence', async () => {
    const message = (id: string, more: object = {}): JsonObject => ({
      sender: PAT,
      type: 'm.good',
      message_id: id,
      messages: { '@alice:a.test': { DEVICE: { body: id } } },
      ...more,
    });
    await send('m.direct_to_device', message('1', { messages: { '@alice:a.test': { DEVICE: { body: HALF } } } }));
    await send('m.direct_to_device', message('2', { messages: { '@alice:a.test': { '*': { a: [{ [HALF]: 1 }] } } } }));
    await send('m.direct_to_device', message('3', { type: HALF }));
    for (const sender of ['@\ud800:p.test', '@a\0b:p.test', `@${'x'.repeat(300)}:p.test`, 'pat:p.test', ':p.test', ''])
      await send('m.direct_to_device', message(`4 ${sender}`, { sender }));
    const odd = { '@alice:a.test': { 'D\0': {}, [`D${'x'.repeat(20_000)}`]: {} }, '@a\0b:a.test': { '*': {}, D: {} } };
    await send('m.direct_to_device', message('odd', { messages: odd }));
    await send('m.direct_to_device', message('5'));
    expect(a.lines.filter(({ message }) => message.startsWith('The database refused'))).to.deep.equal([]);
    await send('m.presence', { push: [{ user_id: PAT, presence: 'online', status_msg: HALF }] });
    const { presence, to_device: messages } = await told('GET', '/sync?timeout=0');
    expect(messages.events).to.deep.equal([{ sender: PAT, type: 'm.good', content: { body: '5' } }]);
    expect(presence.events.find(({ sender }: Json) => sender === PAT).content.status_msg).to.equal('half \ufffd');
  });

  it('come into no keys, by updates, queries and claims, and others are told', async () => {
    const user = '@other:p.test';
    const bad = {
      BAD1: keysOf(user, 'BAD1', { algorithms: [HALF] }),
      BAD2: keysOf(user, 'BAD2', { keys: { [HALF]: 'x' } }),
      BAD3: keysOf(user, 'BAD3', { 'org.example': { deep: [HALF] } }),
      [HALF]: keysOf(user, HALF),
      'nul\0': keysOf(user, 'nul\0'),
      ['x'.repeat(256)]: keysOf(user, 'x'.repeat(256)),
    };
    p.on('POST', `${V}/user/keys/query`, () => ({
      body: { device_keys: { [user]: { GOOD: keysOf(user, 'GOOD'), ...bad } } },
    }));
    const { device_keys: found } = await told('POST', '/keys/query', { device_keys: { [user]: [] } });
    expect(Object.keys(found[user])).to.deep.equal(['GOOD']);
    p.on('POST', `${V}/user/keys/claim`, () => ({
      body: {
        one_time_keys: {
          [user]: {
            D1: { [`signed_curve25519:${HALF}`]: { key: 'k', signatures: {} } },
            D2: { 'signed_curve25519:A': { key: 'k', signatures: {} } },
            D3: { 'signed_curve25519:B': { key: HALF } },
          },
        },
      },
    }));
    const devices = { D1: 'signed_curve25519', D2: 'signed_curve25519', D3: 'signed_curve25519' };
    const { one_time_keys: claimed } = await told('POST', '/keys/claim', { one_time_keys: { [user]: devices } });
    expect(claimed).to.deep.equal({ [user]: { D2: { 'signed_curve25519:A': { key: 'k', signatures: {} } } } });
    p.on('GET', `${V}/user/devices/*`, () => ({
      body: {
        user_id: PAT,
        stream_id: 1,
        devices: [
          { device_id: 'GOOD', keys: keysOf(PAT, 'GOOD') },
          { device_id: 'BAD1', keys: keysOf(PAT, 'BAD1', { algorithms: [HALF] }) },
        ],
      },
    }));
    const update = {
      user_id: PAT,
      device_id: 'BAD3',
      stream_id: 2,
      prev_id: [1],
      keys: keysOf(PAT, 'BAD3', { 'org.example': HALF }),
    };
    await told('POST', '/keys/query', { device_keys: { [PAT]: [] } });
    await send('m.device_list_update', update);
    const { device_keys: kept } = await told('POST', '/keys/query', { device_keys: { [PAT]: [] } });
    expect(Object.keys(kept[PAT])).to.deep.equal(['GOOD']);
  });

  it('come into no profile, space or error', async () => {
    p.on('GET', `${V}/query/profile`, () => ({
      body: { displayname: HALF, 'org.a': [HALF], [HALF]: 1, 'org.b': 'whole' },
    }));
    expect(await told('GET', '/profile/@odd:p.test')).to.deep.equal({ displayname: 'half \ufffd', 'org.b': 'whole' });
    const child = (id: string, content: object): JsonObject => ({
      type: 'm.space.child',
      state_key: id,
      sender: PAT,
      origin_server_ts: 1,
      content: { via: ['p.test'], ...content },
    });
    const states = [
      child('!one:p.test', { order: HALF }),
      child('!two:p.test', { 'org.x': HALF }),
      child('!three:p.test', {}),
    ];
    p.on('GET', `${V}/hierarchy/*`, () => ({
      body: {
        room: {
          room_id: '!space:p.test',
          name: HALF,
          num_joined_members: 1,
          join_rule: 'public',
          room_type: 'm.space',
          world_readable: true,
          children_state: states,
        },
        children: [],
        inaccessible_children: [],
      },
    }));
    const { rooms } = await told('GET', '/v1/rooms/!space:p.test/hierarchy?via=p.test');
    expect(rooms[0].children_state.map((one: Json) => one.state_key)).to.deep.equal(['!three:p.test']);
    p.on('GET', `${V}/query/directory`, () => ({ status: 403, body: { errcode: 'M_FORBIDDEN', error: HALF } }));
    const { body } = await a.ask('alice', 'GET', `/directory/room/${encodeURIComponent('#x:p.test')}`);
    expect(body).to.deep.equal({ errcode: 'M_FORBIDDEN', error: 'p.test says: half \ufffd' });
  });

  it('come into no invite, by the event or by what it tells of the room', async () => {
    const invites = async (version: string, content: JsonObject, state: readonly JsonObject[]): Promise<number> => {
      const there = new JoinableRoom(p, version);
      const event = there.build({
        type: 'm.room.member',
        sender: there.creator,
        stateKey: '@alice:a.test',
        content: { membership: 'invite', ...content },
      });
      const path = `/_matrix/federation/v2/invite/${encodeURIComponent(there.roomId)}/${encodeURIComponent(event.eventId)}`;
      const create = there.state.get('m.room.create\0') ?? [...there.state.values()][0]!;
      return (
        await p.send('a.test', 'PUT', path, {
          room_version: version,
          event: event.pdu,
          invite_room_state: [create.pdu, ...state],
        })
      ).status;
    };
    const named = (name: string): JsonObject => ({
      type: 'm.room.name',
      state_key: '',
      sender: '@creator:p.test',
      content: { name },
    });
    expect(await invites('1', { reason: HALF }, [])).to.equal(400);
    expect(await invites('10', {}, [named(HALF), { ...named('x'), type: HALF }])).to.equal(200);
    await a.idle();
    const { rooms } = await told('GET', '/sync?timeout=0');
    const states = Object.values<Json>(rooms.invite).map(({ invite_state: state }) =>
      state.events.map(({ type }: Json) => type),
    );
    expect(states).to.deep.equal([['m.room.create', 'm.room.member']]);
  });

  it('come into no question, by events that another server names', async () => {
    for (const id of ['$half \ud800', '$nul\0', `$${'x'.repeat(300)}`, '$', 7]) {
      const there = new JoinableRoom(p);
      there.serveJoins();
      const path = encodeURIComponent(there.roomId);
      p.on('GET', `${V}/timestamp_to_event/*`, () => ({
        body: JSON.stringify({ event_id: id, origin_server_ts: federation.clock.now() }),
      }));
      p.on('GET', `${V}/state_ids/*`, () => ({ body: JSON.stringify({ pdu_ids: [id], auth_chain_ids: [id] }) }));
      await a.must('alice', 'POST', `/join/${path}?via=p.test`, {});
      await a.idle();
      p.asked.length = 0;
      const found = await a.ask('alice', 'GET', `/v1/rooms/${path}/timestamp_to_event?ts=1&dir=f`);
      // A well-formed one comes from what is here.
      expect(found.status, JSON.stringify([id, found.body])).to.equal(200);
      expect(p.requests('GET', /timestamp_to_event/)).to.have.lengthOf(1);
      expect(isWellFormedJson(found.body)).to.equal(true);
      const [, told, newest] = ['the gap', 'behind it', 'the newest'].map((text) =>
        there.add({ type: 'm.room.message', sender: there.creator, content: { body: text } }),
      );
      p.on('POST', `${V}/get_missing_events/*`, () => ({ body: { events: [told!.pdu] } }));
      expect((await p.transact('a.test', { pdus: [newest!.pdu] })).status).to.equal(200);
      await a.idle();
      expect(p.requests('GET', /state_ids/)).not.to.deep.equal([]);
      const named = p.asked.flatMap(({ body, path, query }) => [
        ...path.split('/').slice(4).map(decodeURIComponent),
        ...query.getAll('event_id'),
        ...query.getAll('v'),
        ...((body as Json)?.latest_events ?? []),
        ...((body as Json)?.earliest_events ?? []),
      ]);
      const isStrange = (one: unknown): boolean =>
        String(one) === String(id) || (String(one).startsWith('$') && !/^\$[\w-]{43}$/.test(String(one)));
      expect(named.filter(isStrange)).to.deep.equal([]);
    }
    expect(a.lines.filter(({ level }) => level === 'error')).to.deep.equal([]);
  });

  for (const version of ['1', '5', '6', '11'])
    it(`come into no room of version ${version}`, async () => {
      const id = await a.room('alice', { preset: 'public_chat', room_version: version });
      const there = await PartnerRoom.join(a, p, id, [PAT]);
      const odd = there.build({ type: 'm.room.message', sender: PAT, content: { body: 'good' } });
      const { body } = await p.transact('a.test', { pdus: [{ ...odd.pdu, content: { body: HALF } }] });
      expect(Object.values<Json>(body.pdus).map(({ error }) => typeof error)).to.deep.equal(['string']);
      await a.idle();
      await told('GET', '/sync?timeout=0');
    });

  it('are refused from clients where others would be told', async () => {
    const refused = async (method: string, path: string, body: object, errcode = 'M_BAD_JSON'): Promise<void> => {
      const answer = await a.ask('bob', method, path, body);
      expect([answer.status, answer.body.errcode], path).to.deep.equal([400, errcode]);
    };
    const { deviceId, userId } = await a.session('bob');
    await refused('PUT', '/sendToDevice/m.x/1', { messages: { '@alice:a.test': { DEVICE: { a: HALF } } } });
    await refused('PUT', `/presence/${userId}/status`, { presence: 'online', status_msg: HALF }, 'M_INVALID_PARAM');
    await refused('POST', '/keys/upload', { device_keys: keysOf(userId, deviceId, { 'org.x': HALF }) });
    await refused('POST', '/keys/upload', { one_time_keys: { 'signed_curve25519:A': { key: HALF } } });
    await refused('POST', '/keys/upload', { fallback_keys: { [`signed_curve25519:${HALF}`]: { key: 'x' } } });
  });
});
