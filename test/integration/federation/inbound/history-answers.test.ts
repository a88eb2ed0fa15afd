import { expect } from 'chai';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import type { InProcessServer, Json } from '#test/support/in-process-server.ts';
import { PartnerRoom } from '#test/support/federation/partner-room.ts';
import type { RemotePartner } from '#test/support/federation/remote-partner.ts';

const PAT = '@pat:p.test';

describe('servers that ask for the history of a room', function () {
  this.timeout(60_000);
  let federation: Federation;
  let server: InProcessServer;
  let p: RemotePartner;
  let q: RemotePartner;
  let rooms = 0;
  let roomId: string;
  let room: PartnerRoom;

  before(async () => {
    federation = await startFederation(['a.test'], { partners: ['p.test', 'q.test'] });
    server = federation.server('a.test');
    p = federation.partner('p.test');
    q = federation.partner('q.test');
  });
  after(() => federation.stop());

  const makeRoom = async (wish: object = {}): Promise<void> => {
    const creation = { creation_content: { n: (rooms += 1) } };
    roomId = await server.room('alice', { preset: 'public_chat', ...creation, ...wish });
    room = await PartnerRoom.join(server, p, roomId, [PAT]);
  };
  const says = async (...bodies: string[]): Promise<string[]> => {
    const ids: string[] = [];
    for (const body of bodies) ids.push(await server.say('alice', roomId, body));
    await room.catchUp();
    return ids;
  };
  const get = (path: string, from = p): Promise<{ status: number; body: Json }> =>
    from.send('a.test', 'GET', `/_matrix/federation/v1${path}`);
  const missing = (
    latest: string[],
    earliest: string[],
    more: object = {},
    from = p,
  ): Promise<{ status: number; body: Json }> =>
    from.send('a.test', 'POST', `/_matrix/federation/v1/get_missing_events/${roomId}`, {
      latest_events: latest,
      earliest_events: earliest,
      limit: 10,
      ...more,
    });
  const path = (id: string): string => encodeURIComponent(id);
  const bodies = (pdus: Json): string[] => pdus.map(({ content }: Json) => content.body);
  const all = (eventId: string): string[] => [
    `/backfill/${roomId}?v=${path(eventId)}&limit=10`,
    `/state/${roomId}?event_id=${path(eventId)}`,
    `/state_ids/${roomId}?event_id=${path(eventId)}`,
    `/event/${path(eventId)}`,
    `/event_auth/${roomId}/${path(eventId)}`,
    `/timestamp_to_event/${roomId}?ts=0&dir=f`,
  ];

  it('get the events of a gap, oldest first, and no others', async () => {
    await makeRoom();
    const [one, , , four] = (await says('1', '2', '3', '4')) as [string, string, string, string];
    const { body, status } = await missing([four], [one]);
    expect(status).to.equal(200);
    expect(bodies(body.events)).to.deep.equal(['2', '3']);
    expect(bodies((await missing([four], [one], { limit: 1 })).body.events)).to.deep.equal(['3']);
    const depth = room.event(four).pdu.depth;
    expect(bodies((await missing([four], [], { min_depth: depth - 2 })).body.events)).to.deep.equal(['2', '3']);
    expect((await missing(['$unknown'], [one])).body.events).to.deep.equal([]);
    expect((await missing([four], [four])).body.events).to.deep.equal([]);
  });

  it('are told nothing that lies before what they know, on whichever branch', async () => {
    await makeRoom();
    const [base] = (await says('base')) as [string];
    const left = room.say(PAT, 'left', { prev: [base] });
    await room.send([left]);
    const [right] = (await says('right')) as [string];
    expect(room.event(right).pdu.prev_events).to.deep.equal([left.eventId]);
    const aside = room.say(PAT, 'aside', { prev: [base] });
    await room.send([aside]);
    const [merge] = (await says('merge')) as [string];
    const { body } = await missing([merge], [left.eventId]);
    expect(bodies(body.events).sort()).to.deep.equal(['aside', 'right']);
  });

  it('are given 20 events at most, whatever they ask for', async () => {
    await makeRoom();
    const ids = await says(...Array.from({ length: 25 }, (_, i) => `${i}`));
    const { body } = await missing([ids.at(-1)!], [], { limit: 1_000 });
    expect(bodies(body.events)).to.deep.equal(Array.from({ length: 20 }, (_, i) => `${i + 4}`));
    expect((await missing([ids.at(-1)!], [], { limit: -5 })).body.events).to.deep.equal([]);
  });

  it('are given events as they were signed, so that anybody can verify them', async () => {
    await makeRoom();
    const [id] = (await says('signed')) as [string];
    const { body } = await get(`/event/${path(id)}`);
    expect(body.origin).to.equal('a.test');
    const [verified] = await server.services.eventVerifier.verify(
      (await server.services.rooms.byId(roomId))!.version,
      body.pdus,
    );
    expect(verified).to.deep.include({ ok: true });
    expect(verified!.ok && verified!.event.eventId).to.equal(id);
  });

  it('are given redacted copies of what they may not see', async () => {
    const creation = { creation_content: { n: (rooms += 1) } };
    const invited = { type: 'm.room.history_visibility', content: { history_visibility: 'joined' } };
    roomId = await server.room('alice', { preset: 'public_chat', ...creation, initial_state: [invited] });
    const secret = await server.say('alice', roomId, 'secret');
    room = await PartnerRoom.join(server, p, roomId, [PAT]);
    const [open] = (await says('open')) as [string];
    const { body } = await missing([open], [], { limit: 2 });
    const contents = body.events.map(({ content, type }: Json) => [type, content.body]);
    expect(contents).to.deep.equal([
      ['m.room.message', undefined],
      ['m.room.member', undefined],
    ]);
    const one = await get(`/event/${path(secret)}`);
    expect(one.body.pdus[0].content).to.deep.equal({});
    expect(one.body.pdus[0].hashes).to.be.an('object');
    const filled = await get(`/backfill/${roomId}?v=${path(open)}&limit=3`);
    expect(bodies(filled.body.pdus)).to.deep.equal(['open', undefined, undefined]);
    await server.setState('alice', roomId, 'm.room.history_visibility', { history_visibility: 'shared' });
    const [later] = (await says('later')) as [string];
    expect(bodies((await missing([later], [], { limit: 1 })).body.events)).to.deep.equal([undefined]);
  });

  it('get what precedes an event, itself included, by backfill', async () => {
    await makeRoom();
    const [, two, three] = (await says('1', '2', '3')) as [string, string, string];
    const { body } = await get(`/backfill/${roomId}?v=${path(three)}&limit=2`);
    expect(bodies(body.pdus)).to.deep.equal(['3', '2']);
    const several = await get(`/backfill/${roomId}?v=${path(two)}&v=${path(three)}&limit=3`);
    expect(bodies(several.body.pdus)).to.deep.equal(['3', '2', '1']);
    const everything = await get(`/backfill/${roomId}?v=${path(three)}&limit=100`);
    expect(everything.body.pdus.at(-1).type).to.equal('m.room.create');
    expect((await get(`/backfill/${roomId}?v=$unknown&limit=100`)).body.pdus).to.deep.equal([]);
    expect((await get(`/backfill/${roomId}?limit=100`)).status).to.equal(400);
  });

  it('get the state before an event with exactly what authorises it', async () => {
    await makeRoom();
    await server.setState('alice', roomId, 'm.room.topic', { topic: 'first' });
    const changed = await server.setState('alice', roomId, 'm.room.topic', { topic: 'second' });
    await room.catchUp();
    const { body } = await get(`/state_ids/${roomId}?event_id=${path(changed)}`);
    expect(body.pdu_ids).to.have.members([...room.stateBefore(changed)]);
    expect(body.auth_chain_ids).to.have.members([...room.authChain(room.stateBefore(changed))]);
    const full = await get(`/state/${roomId}?event_id=${path(changed)}`);
    const topics = full.body.pdus.filter(({ type }: Json) => type === 'm.room.topic');
    expect(topics.map(({ content }: Json) => content.topic)).to.deep.equal(['first']);
    expect(full.body.pdus).to.have.length(body.pdu_ids.length);
    expect(full.body.auth_chain).to.have.length(body.auth_chain_ids.length);
    const auth = await get(`/event_auth/${roomId}/${path(changed)}`);
    expect(auth.body.auth_chain).to.have.length(room.authChain([changed]).length);
  });

  it('are told the event nearest to a time', async () => {
    await makeRoom();
    await federation.clock.advance(10_000);
    const at = server.clock.now();
    const [one] = (await says('at that time')) as [string];
    await federation.clock.advance(10_000);
    await says('later');
    const { body } = await get(`/timestamp_to_event/${roomId}?ts=${at - 5_000}&dir=f`);
    expect(body).to.deep.equal({ event_id: one, origin_server_ts: at });
    expect((await get(`/timestamp_to_event/${roomId}?ts=${at + 5_000}&dir=b`)).body.event_id).to.equal(one);
    expect(await get(`/timestamp_to_event/${roomId}?ts=${at + 50_000_000}&dir=f`)).to.deep.include({ status: 404 });
    expect((await get(`/timestamp_to_event/${roomId}?ts=x&dir=f`)).status).to.equal(400);
  });

  it('are refused when they are not in the room, or it denies them, or it does not exist', async () => {
    await makeRoom();
    const [one] = (await says('1')) as [string];
    for (const url of all(one)) expect(await get(url, q), url).to.deep.include({ status: 403 });
    expect((await missing([one], [], {}, q)).body.errcode).to.equal('M_FORBIDDEN');
    await server.setState('alice', roomId, 'm.room.server_acl', { allow: ['*'], deny: ['p.test'] });
    for (const url of all(one)) {
      const { body, status } = await get(url);
      expect([status, body.errcode], url).to.deep.equal([403, 'M_FORBIDDEN']);
    }
    expect((await missing([one], [])).status).to.equal(403);
    roomId = '!nothing:a.test';
    for (const url of all(one).filter((one) => !one.startsWith('/event/')))
      expect(await get(url), url).to.deep.include({ status: 403 });
  });

  it('are told M_NOT_FOUND of events that are rejected, of another room, or unknown, and 400 where none is named', async () => {
    await makeRoom();
    const foreign = (await says('elsewhere'))[0]!;
    await makeRoom();
    await says('here');
    const rejected = room.make({
      type: 'm.room.power_levels',
      sender: PAT,
      stateKey: '',
      content: { users: { [PAT]: 100 } },
    });
    await room.send([rejected]);
    for (const id of [foreign, rejected.eventId, '$unknown'])
      for (const url of [`/state/${roomId}?event_id=${path(id)}`, `/state_ids/${roomId}?event_id=${path(id)}`]) {
        const { body, status } = await get(url);
        expect([status, body.errcode], url).to.deep.equal([404, 'M_NOT_FOUND']);
      }
    for (const id of [rejected.eventId, '$unknown']) expect((await get(`/event/${path(id)}`)).status).to.equal(404);
    expect((await get(`/event_auth/${roomId}/${path(foreign)}`)).status).to.equal(404);
    for (const kind of ['state', 'state_ids']) expect((await get(`/${kind}/${roomId}`)).status).to.equal(400);
  });
});
