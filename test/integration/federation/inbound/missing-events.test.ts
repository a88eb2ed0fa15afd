import { expect } from 'chai';
import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import { sql } from '#src/storage/statement.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import type { InProcessServer, Json } from '#test/support/in-process-server.ts';
import { PartnerRoom } from '#test/support/federation/partner-room.ts';
import type { RemotePartner } from '#test/support/federation/remote-partner.ts';
import { RemoteRoom, signsWith } from '#test/support/federation/remote-room.ts';
import { until } from '#test/support/until.ts';

const PAT = '@pat:p.test';

describe('events that are missing when others come', function () {
  this.timeout(60_000);
  let federation: Federation;
  let server: InProcessServer;
  let p: RemotePartner;
  let rooms = 0;
  let roomId: string;
  let room: PartnerRoom;

  before(async () => {
    federation = await startFederation(['a.test'], { partners: ['p.test', 'q.test'] });
    server = federation.server('a.test');
  });
  after(() => federation.stop());
  beforeEach(async () => {
    // What failed for the test before is asked anew.
    federation.clock.set(60_000);
    p = federation.partner('p.test');
    roomId = await server.room('alice', { preset: 'public_chat', creation_content: { n: (rooms += 1) } });
    room = await PartnerRoom.join(server, p, roomId, [PAT]);
    room.serveHistory();
    p.asked.length = 0;
  });

  const page = (): Promise<Json> => server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b&limit=100`);
  const bodies = async (): Promise<string[]> => server.bodies(await page());
  const extremities = async (): Promise<string[]> =>
    (await server.services.rooms.byId(roomId))!.head.extremities.map(({ eventId }) => eventId);
  const says = (count: number): IdentifiedPdu[] => Array.from({ length: count }, (_, i) => room.say(PAT, `${i}`));
  /** Time passes, and what begins in it is done before it goes on. */
  const passes = async (seconds: number): Promise<void> => {
    for (let left = seconds; left > 0; left -= 10) {
      await federation.clock.advance(Math.min(left, 10) * 1_000);
      await server.idle();
    }
  };
  const asked = (path: RegExp): number => p.asked.filter((one) => path.test(one.path)).length;

  it('are asked for between our forward extremities and the event, and come in order, without any question for the state', async () => {
    const before = await extremities();
    const events = says(6);
    await room.send([events.at(-1)!]);
    expect(await bodies()).to.deep.equal(['5', '4', '3', '2', '1', '0']);
    const [request] = p.requests('POST', /get_missing_events/);
    expect(request!.body).to.deep.include({
      earliest_events: before,
      latest_events: [events.at(-1)!.eventId],
    });
    expect(asked(/\/state/)).to.equal(0);
    expect(await extremities()).to.deep.equal([events.at(-1)!.eventId]);
    expect(
      server.services.rooms.peekById(roomId)!.ring.events.filter(({ flags }) => (flags & 256) !== 0),
    ).to.deep.equal([]);
  });

  it('are asked for again where one answer does not reach, so that a longer gap is closed as well', async () => {
    const events = says(45);
    await room.send([events.at(-1)!]);
    expect(await bodies()).to.deep.equal(events.map((_, i) => `${i}`).toReversed());
    expect(asked(/get_missing_events/)).to.be.within(2, 4);
    expect(asked(/\/state/)).to.equal(0);
  });

  it('leave a gap where they are too many: the state at it is asked for, and sync is limited', async () => {
    const topic = room.make({ type: 'm.room.topic', sender: PAT, stateKey: '', content: { topic: 'in the gap' } });
    expect(topic.eventId).to.be.a('string');
    const token = server.syncToken();
    const before = await extremities();
    const events = says(200);
    await server.say('alice', roomId, 'meanwhile');
    await room.send([events.at(-1)!]);
    expect(asked(/get_missing_events/)).to.be.at.most(4);
    // What is asked from the first page of history on is for reading further back.
    const paths = p.asked.map(({ path }) => path);
    const history = paths.findIndex((path) => path.includes('/backfill/'));
    const forTheGap = paths.slice(0, history === -1 ? undefined : history);
    expect(forTheGap.filter((path) => path.includes('/state_ids/'))).to.have.length(1);
    const { rooms: told } = await server.must('alice', 'GET', `/sync?since=${token}`);
    const { state, timeline } = told.join[roomId];
    expect(timeline.limited).to.equal(true);
    const shown = timeline.events.map(({ content }: Json) => content.body);
    expect(shown).to.not.include('meanwhile');
    expect(shown.at(-1)).to.equal('199');
    expect([...state.events, ...timeline.events].map(({ type }: Json) => type)).to.not.include('m.room.create');
    expect((await extremities()).length).to.equal(2);
    expect(await extremities()).to.not.include(before[0]);
  });

  it('have the state of the gap, also what was set in it', async () => {
    room.make({ type: 'm.room.name', sender: PAT, stateKey: '', content: { name: 'refused' } });
    let newest: IdentifiedPdu | undefined;
    for (let i = 0; i < 30; i++)
      newest = room.make({
        type: 'm.room.member',
        sender: PAT,
        stateKey: PAT,
        content: { membership: 'join', displayname: `${i}` },
        ts: server.clock.now() + i,
      });
    p.on('POST', '/_matrix/federation/v1/get_missing_events/*', () => ({ body: { events: [newest?.pdu] } }));
    const last = room.say(PAT, 'here I am');
    await room.send([last]);
    expect(await bodies()).to.deep.equal(['here I am']);
    const member = await server.must('alice', 'GET', `/rooms/${roomId}/state/m.room.member/${PAT}`);
    expect(member.displayname).to.equal('29');
    expect(asked(/\/state_ids/)).to.equal(1);
  });

  it('that its own server does not give, though the event comes directly after them, leave it out, and no state is asked for', async () => {
    const [, second] = says(2) as [IdentifiedPdu, IdentifiedPdu];
    p.on('POST', '/_matrix/federation/v1/get_missing_events/*', () => ({ body: { events: [] } }));
    const before = await extremities();
    await room.send([second]);
    expect(await bodies()).to.deep.equal([]);
    expect(await extremities()).to.deep.equal(before);
    expect(asked(/\/state_ids/)).to.equal(0);
    expect(asked(/get_missing_events/)).to.equal(1);
  });

  it('that no server gives leave the event out, which is accepted when it is sent again and they are there', async () => {
    p.on('POST', '/_matrix/federation/v1/get_missing_events/*', () => ({ status: 500 }));
    p.on('GET', '/_matrix/federation/v1/state_ids/*', () => ({ status: 404 }));
    const [first, second] = says(2) as [IdentifiedPdu, IdentifiedPdu];
    const before = await extremities();
    expect((await room.send([second])).body.pdus[second.eventId]).to.deep.equal({});
    expect(await bodies()).to.deep.equal([]);
    expect(await extremities()).to.deep.equal(before);
    await room.send([first, second]);
    expect(await bodies()).to.deep.equal(['1', '0']);
  });

  it('are asked of other servers in the room where the first one does not answer', async () => {
    const q = federation.partner('q.test');
    const other = await PartnerRoom.join(server, q, roomId, ['@quinn:q.test']);
    await room.catchUp();
    const events = says(3);
    for (const event of events) other.learn(event);
    other.serveHistory();
    p.on('POST', '/_matrix/federation/v1/get_missing_events/*', () => ({ status: 502 }));
    await room.send([events.at(-1)!]);
    expect(q.requests('POST', /get_missing_events/)).to.have.length(1);
    expect(await bodies()).to.deep.equal(['2', '1', '0']);
  });

  it('are waited for while their server is away for a moment: what was acknowledged comes in when it is back', async () => {
    const waiting = (): Promise<object[]> =>
      server.services.database.query(sql('test_inbound_waiting', 'select seq from inbound_events'), []);
    const events = says(3);
    federation.path('a.test', 'p.test').cut();
    await room.send([events[1]!]);
    await room.send([events[2]!]);
    expect(await bodies()).to.deep.equal([]);
    expect(await waiting()).to.have.length(2);
    await passes(20);
    expect(await bodies()).to.deep.equal([]);
    // The server may be another process by then.
    await server.restart();
    await server.idle();
    expect(await waiting()).to.have.length(2);
    federation.path('a.test', 'p.test').heal();
    await passes(40);
    expect(await bodies()).to.deep.equal(['2', '1', '0']);
    expect(await waiting()).to.deep.equal([]);
  });

  it('are waited for no longer than five minutes, however often the server starts anew meanwhile', async () => {
    const waiting = (): Promise<object[]> =>
      server.services.database.query(sql('test_inbound_over_restarts', 'select seq from inbound_events'), []);
    const [, second] = says(2);
    federation.path('a.test', 'p.test').cut();
    await room.send([second!]);
    // Each time a minute passes.
    for (let minute = 0; minute < 4; minute++) {
      await server.restart();
      await server.idle();
      expect(await waiting()).to.have.length(1);
    }
    await passes(90);
    expect(await waiting()).to.deep.equal([]);
    federation.path('a.test', 'p.test').heal();
    await passes(60);
  });

  it('are waited for no longer than five minutes, and found when something is said afterwards', async () => {
    const waiting = (): Promise<object[]> =>
      server.services.database.query(sql('test_inbound_waited', 'select seq from inbound_events'), []);
    const events = says(3);
    federation.path('a.test', 'p.test').cut();
    await room.send([events[1]!]);
    await passes(330);
    expect(await waiting()).to.deep.equal([]);
    expect(await bodies()).to.deep.equal([]);
    federation.path('a.test', 'p.test').heal();
    await passes(60);
    await room.send([events[2]!]);
    expect(await bodies()).to.deep.equal(['2', '1', '0']);
  });

  it('that come meanwhile let in what waits for them, though their server cannot be asked', async () => {
    const events = says(2);
    federation.path('a.test', 'p.test').cut();
    await room.send([events[1]!]);
    expect(await bodies()).to.deep.equal([]);
    await room.send([events[0]!]);
    expect(await bodies()).to.deep.equal(['1', '0']);
    federation.path('a.test', 'p.test').heal();
    await passes(60);
  });

  it('that come meanwhile let in what waits for them behind another event of the same server, and nobody is asked for what others wait for', async () => {
    const q = federation.partner('q.test');
    const other = await PartnerRoom.join(server, q, roomId, ['@quinn:q.test']);
    await room.catchUp();
    const base = await extremities();
    const chain = (name: string): [IdentifiedPdu, IdentifiedPdu] => {
      const first = other.say('@quinn:q.test', `${name}1`, { prev: base });
      return [first, other.say('@quinn:q.test', `${name}2`, { prev: [first.eventId] })];
    };
    const [, lostChild] = chain('lost');
    const [parent, child] = chain('late');
    for (const partner of [p, q]) {
      partner.on('POST', '/_matrix/federation/v1/get_missing_events/*', () => ({ status: 404 }));
      partner.on('GET', '/_matrix/federation/v1/state_ids/*', () => ({ status: 404 }));
    }
    federation.path('a.test', 'q.test').cut();
    await q.transact('a.test', { pdus: [lostChild.pdu, child.pdu] });
    await server.idle();
    expect(await bodies()).to.deep.equal([]);
    const questions = (): number => p.requests('POST', /get_missing_events|state_ids/).length;
    const before = questions();
    for (let n = 0; n < 10; n++) await room.send([room.say(PAT, `${n}`)]);
    expect(questions()).to.equal(before);
    await p.transact('a.test', { pdus: [parent.pdu] });
    await server.idle();
    expect((await bodies()).filter((body) => /late|lost/.test(body))).to.have.members(['late1', 'late2']);
    expect(questions()).to.equal(before);
    federation.path('a.test', 'q.test').heal();
    // Then nothing waits any more.
    await passes(70);
    const waiting = sql('test_inbound_behind_another', 'select seq from inbound_events');
    expect(await server.services.database.query(waiting)).to.deep.equal([]);
  });

  describe('that nobody is shown', () => {
    let q: RemotePartner;
    let other: PartnerRoom;
    let base: string[];

    beforeEach(async () => {
      q = federation.partner('q.test');
      other = await PartnerRoom.join(server, q, roomId, ['@quinn:q.test']);
      other.serveHistory();
      await room.catchUp();
      base = await extremities();
      federation.path('a.test', 'p.test').cut();
    });
    afterEach(async () => {
      federation.path('a.test', 'p.test').heal();
      await passes(70);
      const waiting = sql('test_inbound_behind_hidden', 'select seq from inbound_events');
      expect(await server.services.database.query(waiting)).to.deep.equal([]);
    });

    const status = async (id: string): Promise<number> =>
      (await server.ask('alice', 'GET', `/rooms/${roomId}/event/${encodeURIComponent(id)}`)).status;
    /** An event of which pat's server tells something after it, and which comes only behind a gap in what the other server sends. */
    const comesBehindAGap = async (hidden: IdentifiedPdu): Promise<void> => {
      other.learn(hidden);
      const child = room.make({ type: 'test.child', sender: PAT, content: {}, prev: [hidden.eventId] });
      await room.send([child]);
      expect(await status(child.eventId)).to.equal(404);
      const newest = other.make({ type: 'test.newest', sender: '@quinn:q.test', content: {}, prev: [hidden.eventId] });
      await q.transact('a.test', { pdus: [newest.pdu] });
      await server.idle();
      expect(await status(newest.eventId)).to.equal(200);
      expect(await status(hidden.eventId)).to.equal(404);
      expect(await status(child.eventId)).to.equal(200);
    };

    it('let in what waits for them, as soft-failed ones', async () => {
      const hidden = room.say(PAT, 'too late', { prev: base });
      await server.setState('alice', roomId, 'm.room.power_levels', {
        users: {},
        events: { 'm.room.message': 100 },
      });
      await comesBehindAGap(hidden);
    });

    it('let in what waits for them, as rejected ones', async () => {
      await comesBehindAGap(
        room.make({ type: 'm.room.topic', sender: PAT, stateKey: '', content: { topic: 'mine' }, prev: base }),
      );
    });

    it('let in what names them as auth events, as outliers', async () => {
      const powers = { type: 'm.room.power_levels', sender: PAT, stateKey: '', prev: base };
      const forbidden = room.make({ ...powers, content: { users: { [PAT]: 100 } } });
      other.learn(forbidden);
      const naming = (event: IdentifiedPdu): IdentifiedPdu => {
        const auth = event.pdu.auth_events.map(String).filter((id) => id !== forbidden.eventId);
        return room.build({
          type: event.pdu.type,
          sender: event.pdu.sender,
          content: {},
          prev: base,
          auth: [...auth, forbidden.eventId],
        });
      };
      const draft = { type: 'test.naming', content: {}, prev: base };
      const waits = naming(room.build({ ...draft, sender: PAT }));
      const comes = naming(other.build({ ...draft, sender: '@quinn:q.test' }));
      other.learn(comes);
      const stands = async (id: string): Promise<unknown> =>
        (await server.services.loader.byId((await server.services.rooms.byId(roomId))!, id))?.flags;
      await room.send([waits]);
      expect(await stands(waits.eventId)).to.equal(undefined);
      await q.transact('a.test', { pdus: [comes.pdu] });
      await server.idle();
      expect(await stands(comes.eventId)).to.be.a('number');
      expect(await stands(waits.eventId)).to.equal(await stands(comes.eventId));
    });

    it('let in what came just before them, behind something that their server alone has', async () => {
      const lost = room.say(PAT, 'lost', { prev: base });
      const behind = room.say(PAT, 'behind', { prev: [lost.eventId] });
      const parent = room.say(PAT, 'parent', { prev: base });
      const child = room.say(PAT, 'child', { prev: [parent.eventId] });
      await room.send([behind, child, parent]);
      expect(await bodies()).to.have.members(['parent', 'child']);
    });
  });

  it('that are bad are thrown away with what is built on them, and asked for again with the next event', async () => {
    const bad = room.say(PAT, 'bad');
    const child = room.say(PAT, 'child');
    const grandchild = room.say(PAT, 'grandchild');
    const wrong = { ...bad.pdu, content: { ...bad.pdu.content, float: 1.5 } };
    p.on('POST', '/_matrix/federation/v1/get_missing_events/*', ({ body }) => ({
      raw: true,
      body: JSON.stringify({ events: body.latest_events.includes(child.eventId) ? [wrong] : [wrong, child.pdu] }),
    }));
    p.on('GET', '/_matrix/federation/v1/event/*', () => ({ body: JSON.stringify({ pdus: [wrong] }) }));
    const before = await extremities();
    await room.send([child]);
    expect(await extremities()).to.deep.equal(before);
    const questions = asked(/get_missing_events/);
    await room.send([grandchild]);
    expect(asked(/get_missing_events/)).to.be.above(questions);
    expect(await extremities()).to.deep.equal(before);
    expect(await bodies()).to.deep.equal([]);
  });

  it('that one lacks before which the state is known leave the events out that are built on them', async () => {
    const b = room.say(PAT, 'B');
    const [c, d, e] = says(3) as [IdentifiedPdu, IdentifiedPdu, IdentifiedPdu];
    p.on('POST', '/_matrix/federation/v1/get_missing_events/*', () => ({ body: { events: [c.pdu, d.pdu] } }));
    p.on('GET', new RegExp(`/event/${encodeURIComponent(b.eventId).replaceAll('$', '.')}`), () => ({ status: 404 }));
    await room.send([e]);
    for (const { eventId } of [b, c, d, e])
      expect(await server.ask('alice', 'GET', `/rooms/${roomId}/event/${encodeURIComponent(eventId)}`)).to.deep.include(
        {
          status: 404,
        },
      );
  });

  it('of the auth chain are asked for, and one that was rejected takes those along that name it', async () => {
    await server.setState('alice', roomId, 'm.room.power_levels', {
      state_default: 50,
      events_default: 0,
      users: {},
    });
    await room.catchUp();
    const forbidden = room.build({
      type: 'm.room.power_levels',
      sender: PAT,
      stateKey: '',
      content: { users: { [PAT]: 100 } },
    });
    room.learn(forbidden);
    const good = room.say(PAT, 'good', { prev: [...(await extremities())] });
    const auth = good.pdu.auth_events.map(String).filter((id) => room.event(id).pdu.type !== 'm.room.power_levels');
    const claims = room.make({
      type: 'm.room.topic',
      sender: PAT,
      stateKey: '',
      content: { topic: 'mine' },
      prev: [good.eventId],
      auth: [...auth, forbidden.eventId],
    });
    const after = room.say(PAT, 'after', { prev: [good.eventId] });
    await room.send([good, claims, after]);
    expect(asked(/event_auth/)).to.equal(1);
    expect(
      (await server.ask('alice', 'GET', `/rooms/${roomId}/event/${encodeURIComponent(claims.eventId)}`)).status,
    ).to.equal(404);
    expect(await bodies()).to.deep.equal(['after', 'good']);
  });

  it('in endless chains cost a bounded number of questions', async () => {
    let made = 0;
    const chain = (body: Json): Json => {
      const [latest] = body.latest_events;
      const events = [];
      let next = latest;
      for (let i = 0; i < 20; i++) {
        made += 1;
        const event = room.event(next);
        next = event.pdu.prev_events[0];
        if (next === undefined || !hidden.includes(next)) break;
        events.push(room.event(next).pdu);
      }
      return { events: events.toReversed() };
    };
    const hidden = says(400).map(({ eventId }) => eventId);
    p.on('POST', '/_matrix/federation/v1/get_missing_events/*', ({ body }) => ({ body: chain(body) }));
    p.on('GET', '/_matrix/federation/v1/state_ids/*', () => ({ status: 403 }));
    const last = room.say(PAT, 'end');
    await room.send([last]);
    expect(p.asked.length).to.be.at.most(20);
    expect(made).to.be.at.most(100);
    expect(await bodies()).to.deep.equal([]);
  });

  it('hold up neither another room nor another server', async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    p.on('POST', '/_matrix/federation/v1/get_missing_events/*', async () => {
      await held;
      return { status: 404 };
    });
    p.on('GET', '/_matrix/federation/v1/state_ids/*', () => ({ status: 404 }));
    const events = says(2);
    await p.transact('a.test', { pdus: [events[1]!.pdu] });
    await p.request('POST', /get_missing_events/);
    const q = federation.partner('q.test');
    const elsewhere = await server.room('alice', { preset: 'public_chat', creation_content: { n: (rooms += 1) } });
    const join = await joinOf(q, elsewhere);
    expect((await q.transact('a.test', { pdus: [join.pdu] })).body.pdus[join.eventId]).to.deep.equal({});
    const { services } = server;
    const other = (await services.rooms.byId(elsewhere))!;
    await until('a join in another room', () => other.isJoined('@quinn:q.test') || undefined);
    release();
    await server.idle();
  });

  it('hold up nothing that another server sends to the same room, and of their own server only what depends on them', async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    p.on('POST', '/_matrix/federation/v1/get_missing_events/*', async () => {
      await held;
      return { status: 404 };
    });
    p.on('GET', '/_matrix/federation/v1/state_ids/*', () => ({ status: 404 }));
    const join = await joinOf(federation.partner('q.test'), roomId);
    const beside = room.build({ type: 'm.room.message', sender: PAT, content: { body: 'beside' } });
    const events = says(3);
    await p.transact('a.test', { pdus: events.slice(1).map(({ pdu }) => pdu) });
    await p.request('POST', /get_missing_events/);
    await federation.partner('q.test').transact('a.test', { pdus: [join.pdu] });
    await p.transact('a.test', { pdus: [beside.pdu] });
    const { services } = server;
    const waiting = (): Promise<object[]> =>
      services.database.query(sql('test_inbound_events', 'select seq from inbound_events'), []);
    const here = (await services.rooms.byId(roomId))!;
    await until('a join in the same room', () => here.isJoined('@quinn:q.test') || undefined);
    await until(
      'an event beside',
      () => here.ring.events.some(({ eventId }) => eventId === beside.eventId) || undefined,
    );
    // They came while the first question was not answered.
    await until('only what waits for the answer is left', async () => (await waiting()).length === 2 || undefined);
    release();
    await server.idle();
    expect(await bodies()).to.deep.equal(['beside']);
    expect(await waiting()).to.deep.equal([]);
    // Nothing of them is counted any more: the next ones come as ever.
    await p.transact('a.test', { pdus: events.map(({ pdu }) => pdu) });
    await server.idle();
    expect((await bodies()).toSorted()).to.deep.equal(['0', '1', '2', 'beside']);
  });

  /** A join that is made by hand, so that nothing waits for the server to be idle. */
  const joinOf = async (partner: RemotePartner, of: string): Promise<IdentifiedPdu> => {
    signsWith(partner.serverName, partner.signingKey);
    const remote = new RemoteRoom(server.services, (await server.services.rooms.byId(of))!, server.services.receiver);
    await remote.catchUp();
    const user = `@quinn:${partner.serverName}`;
    return remote.build({
      type: 'm.room.member',
      sender: user,
      stateKey: user,
      content: { membership: 'join' },
      ts: server.clock.now(),
    });
  };
});
