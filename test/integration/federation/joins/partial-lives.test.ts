import { expect } from 'chai';
import type { Answer, InProcessServer, Json } from '#test/support/in-process-server.ts';
import { type Federation, type RemotePartner, startFederation } from '#test/support/federation/federation.ts';
import { PartialRoom, whetherItWaits } from '#test/support/federation/partial-room.ts';
import { until } from '#test/support/until.ts';

const MEMBERS = ['@m1:p.test', '@m2:p.test'];
const LAZY = encodeURIComponent(JSON.stringify({ room: { state: { lazy_load_members: true } } }));

describe('the life of a room whose members are not known yet', function () {
  this.timeout(60_000);
  let federation: Federation;
  let a: InProcessServer;
  let p: RemotePartner;

  before(async () => {
    federation = await startFederation(['a.test'], {
      partners: ['p.test', 'q.test'],
      server: { config: { federation: { fasterJoinsWaitMs: 0 }, rateLimits: { enabled: false } } },
    });
    a = federation.server('a.test');
    p = federation.partner('p.test');
    for (const name of ['p.test', 'q.test'])
      federation.partner(name).on('PUT', '/_matrix/federation/v1/send/*', () => ({ body: { pdus: {} } }));
  });
  after(() => federation?.stop());

  const at = (room: PartialRoom): string => `/rooms/${encodeURIComponent(room.roomId)}`;
  const enter = async (room: PartialRoom, token = 'alice'): Promise<void> => {
    await a.must(token, 'POST', `/join/${encodeURIComponent(room.roomId)}?via=p.test`, {});
  };
  const joined = async (
    prepare: (room: PartialRoom) => void = () => undefined,
    version = '10',
  ): Promise<PartialRoom> => {
    const room = new PartialRoom(p, MEMBERS, ['p.test', 'q.test'], version);
    prepare(room);
    await enter(room);
    expect((await a.services.rooms.byId(room.roomId))?.partial).not.to.equal(undefined);
    return room;
  };
  const complete = async (room: PartialRoom): Promise<void> => {
    room.open();
    await until('the state is whole', async () => (await a.services.rooms.byId(room.roomId))?.partial === undefined);
    await federation.idle();
  };
  const send = async (...events: readonly { readonly pdu: Json }[]): Promise<void> => {
    await p.transact('a.test', { pdus: events.map(({ pdu }) => pdu) });
    await a.services.inboundQueue.idle();
  };
  const noErrors = (): void => {
    const errors = a.lines.filter(({ level }) => level === 'error');
    expect(errors.map(({ fields, message }) => `${message} ${String((fields['err'] as Error)?.stack)}`)).to.deep.equal(
      [],
    );
  };
  afterEach(noErrors);
  const powerTo = (room: PartialRoom, levels: Json): void => {
    room.add({
      type: 'm.room.power_levels',
      sender: room.creator,
      stateKey: '',
      content: { users: { [room.creator]: 100, '@alice:a.test': 100 }, ...levels },
    });
  };

  it('has every request answered, by what is known now or as soon as the members are, and none by an error of this server', async () => {
    const room = await joined((one) => powerTo(one, {}));
    await send(room.say('@m1:p.test', 'hello'));
    const mine = await a.say('alice', room.roomId, 'mine');
    const event = encodeURIComponent(mine);
    const { next_batch: since, rooms } = await a.must('alice', 'GET', `/sync?filter=${LAZY}`);
    const end: string = rooms.join[room.roomId].timeline.prev_batch;
    const v1 = `/_matrix/client/v1${at(room)}`;
    const admin = `/_synapse/admin/v1${at(room)}`;
    const id = encodeURIComponent(room.roomId);
    const state = `${at(room)}/state`;
    /** Whether it waits for the members, and how it is answered. */
    type Asked = readonly [
      outcome: 'now' | 'later' | 'now refused' | 'later refused',
      user: string,
      method: string,
      path: string,
      body?: Json,
    ];
    const reads = (outcome: Asked[0], user: string, paths: readonly string[]): Asked[] =>
      paths.map((path) => [outcome, user, 'GET', path]);
    const of = (paths: readonly string[]): string[] => paths.map((path) => `${at(room)}/${path}`);
    const asks: readonly Asked[] = [
      ...reads('later', 'alice', [
        ...of(['state', 'members', 'joined_members', `context/${event}`, 'initialSync']),
        ...of(['messages?dir=b', `messages?dir=b&from=${end}`, `members?at=${since}`, 'members?membership=ban']),
        `${v1}/timestamp_to_event?ts=1&dir=f`,
      ]),
      ...reads('later refused', 'alice', [`${state}/m.room.member/@nobody:q.test`]),
      ...reads('now', 'alice', [
        ...of([`event/${event}`, 'messages?dir=f', 'state/m.room.member/@m1:p.test']),
        `${v1}/threads`,
        `${v1}/relations/${event}`,
        `${v1}/hierarchy`,
        `/_matrix/client/v1/room_summary/${id}`,
        '/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms?user_id=%40m1%3Ap.test',
        '/publicRooms',
        '/sync',
        '/initialSync',
        '/notifications',
        `/keys/changes?from=${since}&to=${since}`,
      ]),
      [
        'later',
        'alice',
        'POST',
        '/search',
        { search_categories: { room_events: { search_term: 'hello', event_context: { include_profile: true } } } },
      ],
      ['now', 'alice', 'POST', '/user_directory/search', { search_term: 'm1' }],
      ['now', 'alice', 'POST', `${at(room)}/receipt/m.read/${event}`, {}],
      ['now', 'alice', 'PUT', `${state}/m.room.topic`, { topic: 'x' }],
      ['now', 'alice', 'PUT', `${state}/m.room.member/@m1:p.test`, { membership: 'ban' }],
      ['later', 'alice', 'POST', `${at(room)}/invite`, { user_id: '@bob:a.test' }],
      ['now', 'alice', 'POST', `${at(room)}/report`, { reason: 'x' }],
      ['later refused', 'carol', 'POST', `/knock/${id}`, {}],
      ...reads('now refused', 'dave', [`${at(room)}/messages?dir=b`]),
      ...reads('later', 'admin-a', [`${admin}/state`]),
      ...reads(
        'now',
        'admin-a',
        ['', '/members', '/forward_extremities', `/context/${event}`, `/messages?dir=b&from=${end}`].map(
          (path) => admin + path,
        ),
      ),
    ];
    const begun: { readonly ask: Asked; readonly waits: boolean; readonly answer: Promise<Answer> }[] = [];
    for (const ask of asks) {
      const [, user, method, path, body] = ask;
      begun.push({ ask, ...(await whetherItWaits(a, () => a.ask(user, method, path, body))) });
    }
    await complete(room);
    const outcomes: (readonly unknown[])[] = [];
    for (const { answer, ask, waits } of begun) {
      const { status } = await answer;
      const how = [200, 403, 404].includes(status) ? (status === 200 ? '' : ' refused') : ` ${status}`;
      outcomes.push([`${waits ? 'later' : 'now'}${how}`, ...ask.slice(1)]);
    }
    expect(outcomes).to.deep.equal(asks);
  });

  it('is no room of two for push rules because only one of the others has said something yet', async () => {
    const room = await joined();
    const said = room.say('@m1:p.test', 'hello');
    await send(said);
    const { notifications } = await a.must('alice', 'GET', '/notifications');
    const { actions } = notifications.find(({ event }: Json) => event.event_id === said.eventId);
    expect(actions).to.deep.equal(['notify']);
    await complete(room);
  });

  const members = async (room: PartialRoom): Promise<Json> =>
    Object.fromEntries(
      (await a.must('alice', 'GET', `${at(room)}/members`)).chunk.map((event: Json) => [
        event.state_key,
        event.content.membership,
      ]),
    );
  const everybody = (room: PartialRoom): Json =>
    Object.fromEntries([room.creator, ...MEMBERS, '@alice:a.test'].map((userId) => [userId, 'join']));

  it('shows an invite by a member of whom nothing is known yet, and lets the invited user in', async () => {
    const room = await joined(undefined, '12');
    await send(
      room.add({
        type: 'm.room.member',
        sender: '@m1:p.test',
        stateKey: '@bert:a.test',
        content: { membership: 'invite' },
      }),
    );
    const { rooms } = await a.must('bert', 'GET', `/sync?filter=${LAZY}`);
    const stripped = rooms.invite[room.roomId].invite_state.events;
    expect(stripped.map((event: Json) => event.state_key)).to.include.members(['@m1:p.test', '@bert:a.test']);
    await enter(room, 'bert');
    await complete(room);
    expect(await members(room)).to.deep.equal({ ...everybody(room), '@bert:a.test': 'join' });
  });

  it('has the history that was known when all had left, and the members of now', async () => {
    const room = new PartialRoom(p, MEMBERS, ['p.test', 'q.test'], '12');
    await enter(room);
    await complete(room);
    await a.say('alice', room.roomId, 'then');
    await a.must('alice', 'POST', `${at(room)}/leave`, {});
    await federation.idle();
    room.shut();
    room.add({ type: 'm.room.member', sender: '@m2:p.test', stateKey: '@m2:p.test', content: { membership: 'leave' } });
    room.enter('@m3:p.test');
    room.ban('@m4:q.test');
    await enter(room);
    await send(room.say('@m3:p.test', 'now'));
    const history = a.must('alice', 'GET', `${at(room)}/messages?dir=b&limit=50`);
    const left = a.must('alice', 'GET', `${at(room)}/state/m.room.member/@m2:p.test`);
    await complete(room);
    expect((await left).membership).to.equal('leave');
    expect(a.bodies(await history)).to.deep.equal(['now', 'then']);
    await a.restart();
    expect(await members(room)).to.deep.equal({
      ...everybody(room),
      '@m2:p.test': 'leave',
      '@m3:p.test': 'join',
      '@m4:q.test': 'ban',
    });
  });

  it('keeps what its state is made of when old history is purged, and is purged when its members are known', async () => {
    const room = await joined((one) => powerTo(one, {}));
    for (let n = 0; n < 3; n++) await a.say('alice', room.roomId, `${n}`);
    await a.setState('alice', room.roomId, 'm.room.topic', { topic: 'new' });
    await a.say('alice', room.roomId, 'last');
    await federation.clock.advance(1_000);
    const { nid } = (await a.services.rooms.byId(room.roomId))!;
    expect(await a.services.retention.purgeRoom(nid, federation.clock.now(), new AbortController().signal)).to.equal(
      true,
    );
    const purge = a.ask('admin-a', 'POST', `/_synapse/admin/v1/purge_history/${encodeURIComponent(room.roomId)}`, {
      purge_up_to_ts: federation.clock.now(),
      delete_local_events: true,
    });
    await a.ask('alice', 'GET', '/account/whoami');
    await complete(room);
    const { body, status } = await purge;
    expect(status, JSON.stringify(body)).to.equal(200);
    await until('it is purged', async () => {
      await federation.clock.advance(1_000);
      return (
        (await a.must('admin-a', 'GET', `/_synapse/admin/v1/purge_history_status/${body.purge_id}`)).status ===
        'complete'
      );
    });
    await a.restart();
    expect(await members(room)).to.deep.equal(everybody(room));
    await a.say('alice', room.roomId, 'after');
    expect(a.bodies(await a.must('alice', 'GET', `${at(room)}/messages?dir=b&limit=9`))).to.deep.equal([
      'after',
      'last',
    ]);
  });

  it('accepts what comes while it is judged anew, and names what was refused until then', async () => {
    const room = new PartialRoom(p, MEMBERS, ['p.test']);
    const create = room.state.get('m.room.create\0')!.eventId;
    const rules = room.state.get('m.room.join_rules\0')!.eventId;
    powerTo(room, { users: { [room.creator]: 100, '@m2:p.test': 100 } });
    const levels = room.last.eventId;
    const [victim, banner] = MEMBERS.map((id) => room.state.get(`m.room.member\0${id}`)!.eventId);
    room.add({ type: 'm.room.member', sender: '@m2:p.test', stateKey: '@m2:p.test', content: { membership: 'leave' } });
    await enter(room);
    const ban = room.add({
      type: 'm.room.member',
      sender: '@m2:p.test',
      stateKey: '@m1:p.test',
      content: { membership: 'ban' },
      auth: [create, levels, banner!, victim!],
    });
    const renamed = room.add({
      type: 'm.room.member',
      sender: '@m1:p.test',
      stateKey: '@m1:p.test',
      content: { membership: 'join', displayname: 'Em' },
      auth: [create, levels, rules, victim!],
    });
    const said = room.add({
      type: 'm.room.message',
      sender: '@m1:p.test',
      content: { msgtype: 'm.text', body: 'late' },
      auth: [create, levels, renamed.eventId],
    });
    await send(ban, renamed);
    const { receiver } = a.services;
    const { reconsider } = receiver;
    const seen: string[] = [];
    receiver.reconsider = async (...args) => {
      seen.push(args[1].eventId);
      if (args[1].eventId === renamed.eventId) await send(said);
      return reconsider.apply(receiver, args);
    };
    try {
      await complete(room);
      await until('it is shown', async () => {
        await federation.clock.advance(1_000);
        return (await a.ask('alice', 'GET', `${at(room)}/event/${encodeURIComponent(said.eventId)}`)).status === 200;
      });
    } finally {
      receiver.reconsider = reconsider;
    }
    expect(seen).to.deep.equal([ban.eventId, renamed.eventId, said.eventId]);
  });

  it('has its devices reviewed although a server sends ever new events that are refused', async () => {
    const room = await joined();
    const { nid } = (await a.services.rooms.byId(room.roomId))!;
    const refused = (): Promise<void> => send(room.say('@stranger:p.test', 'no'));
    await refused();
    const { receiver, remoteDeviceLists } = a.services;
    const { reconsider } = receiver;
    const { review } = remoteDeviceLists;
    let judged = 0;
    let isReviewed = false;
    receiver.reconsider = async (...args) => {
      judged += 1;
      if (!isReviewed && judged < 60) await refused();
      return reconsider.apply(receiver, args);
    };
    remoteDeviceLists.review = (reviewed) => {
      isReviewed ||= reviewed.nid === nid;
      return review.call(remoteDeviceLists, reviewed);
    };
    try {
      await complete(room);
      await until('the devices are reviewed', async () => {
        await federation.clock.advance(1_000);
        return isReviewed;
      });
    } finally {
      receiver.reconsider = reconsider;
      remoteDeviceLists.review = review;
    }
    expect(judged).to.be.within(20, 40);
  });

  it('carries its bans over when it is upgraded', async () => {
    const room = await joined((one) => {
      powerTo(one, {});
      one.ban('@bad:q.test');
    });
    const upgraded = a.ask('alice', 'POST', `${at(room)}/upgrade`, { new_version: '11' });
    await complete(room);
    const { body, status } = await upgraded;
    expect(status, JSON.stringify(body)).to.equal(200);
    await federation.idle();
    expect(
      (await a.must('alice', 'GET', `/rooms/${body.replacement_room}/state/m.room.member/@bad:q.test`)).membership,
    ).to.equal('ban');
  });
});
