import { randomBytes } from 'node:crypto';
import { eventIdBytes } from '#src/services/room-model/event/event-ids.ts';
import { stageTransaction } from '#src/storage/federation/inbound.ts';
import { expect } from 'chai';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import type { InProcessServer } from '#test/support/in-process-server.ts';
import { PartnerRoom } from '#test/support/federation/partner-room.ts';
import type { RemotePartner } from '#test/support/federation/remote-partner.ts';

const PAT = '@pat:p.test';
const QUINN = '@quinn:q.test';
/** Threads of a room in which receipts of a user are kept. */
const THREADS = 120;

describe('transactions of other servers', function () {
  this.timeout(60_000);
  let federation: Federation;
  let server: InProcessServer;
  let p: RemotePartner;
  let q: RemotePartner;

  before(async () => {
    federation = await startFederation(['a.test'], {
      partners: ['p.test', 'q.test'],
      server: { config: { quotas: { threadReceipts: THREADS } } },
    });
    server = federation.server('a.test');
    p = federation.partner('p.test');
    q = federation.partner('q.test');
  });
  after(() => federation.stop());

  let rooms = 0;
  // The clock stands still: rooms whose id is the hash of their first event have to differ in it.
  const publicRoom = (version = '12'): Promise<string> =>
    server.room('alice', { preset: 'public_chat', room_version: version, creation_content: { n: (rooms += 1) } });
  const bodies = async (roomId: string): Promise<string[]> =>
    server.bodies(await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b&limit=100`));
  const message = (body: string): { type: string; sender: string; content: { msgtype: string; body: string } } => ({
    type: 'm.room.message',
    sender: PAT,
    content: { msgtype: 'm.text', body },
  });

  for (const version of ['1', '6', '11', '12'])
    it(`bring their events into the rooms, in order, and are answered for each (room version ${version})`, async () => {
      const roomId = await publicRoom(version);
      const room = await PartnerRoom.join(server, p, roomId, [PAT]);
      const events = ['one', 'two', 'three'].map((body) => room.say(PAT, body));
      const answer = await room.send(events);
      expect(answer.status).to.equal(200);
      expect(answer.body).to.deep.equal({ pdus: Object.fromEntries(events.map(({ eventId }) => [eventId, {}])) });
      expect(await bodies(roomId)).to.deep.equal(['three', 'two', 'one']);
    });

  it('have 50 PDUs and 100 EDUs at most', async () => {
    const pdus = Array.from({ length: 51 }, () => ({}));
    expect(await p.transact('a.test', { pdus })).to.deep.include({ status: 400 });
    const edus = Array.from({ length: 101 }, () => ({ edu_type: 'x', content: {} }));
    const refused = await p.transact('a.test', { edus });
    expect(refused.status).to.equal(400);
    expect(refused.body.errcode).to.equal('M_BAD_JSON');
    expect((await p.transact('a.test', { pdus: pdus.slice(1), edus: edus.slice(1) })).status).to.equal(200);
  });

  it('are done once, and answered the same again, also after a restart', async () => {
    const roomId = await publicRoom();
    const room = await PartnerRoom.join(server, p, roomId, [PAT]);
    const event = room.say(PAT, 'once');
    const first = await p.transact('a.test', { pdus: [event.pdu], txnId: 'again' });
    expect(await p.transact('a.test', { pdus: [event.pdu], txnId: 'again' })).to.deep.include({ body: first.body });
    await server.restart();
    const later = await p.transact('a.test', { pdus: [], txnId: 'again' });
    expect(later.body).to.deep.equal(first.body);
    expect((await q.transact('a.test', { pdus: [], txnId: 'again' })).body).to.deep.equal({ pdus: {} });
    expect(await bodies(roomId)).to.deep.equal(['once']);
  });

  it('have an error for each event that is malformed, wrongly signed, of another room or of none, and 200 for the others', async () => {
    const roomId = await publicRoom();
    const room = await PartnerRoom.join(server, p, roomId, [PAT]);
    const good = room.build(message('good'));
    const forged = room.build(message('forged'));
    const changed = { ...forged.pdu, content: { msgtype: 'm.text', body: 'other' } };
    const signatures = { 'p.test': { 'ed25519:x': 'AAAA' } };
    const unsigned = { ...room.build(message('unsigned')).pdu, signatures };
    const foreign = { ...good.pdu, room_id: '!nothere:a.test' };
    const odd: unknown[] = [
      17,
      null,
      [],
      {},
      { room_id: 7 },
      { room_id: roomId },
      { ...good.pdu, depth: 1.5 },
      { ...good.pdu, type: { a: 1 } },
      { ...good.pdu, prev_events: 'x' },
      { ...good.pdu, content: null },
      { ...good.pdu, type: 'a\0b' },
      { ...good.pdu, sender: '@half:p.test\ud800' },
    ];
    const answer = await p.transact('a.test', { pdus: [...odd, unsigned, foreign, good.pdu] });
    await server.idle();
    expect(answer.status).to.equal(200);
    expect(answer.body.pdus[good.eventId]).to.deep.equal({});
    const errors = Object.values(answer.body.pdus as Record<string, { error?: string }>).filter(({ error }) => error);
    expect(errors.length).to.be.at.least(2);
    expect(await bodies(roomId)).to.deep.equal(['good']);
    // Only the hash of the content is wrong: it is the redacted copy of the event.
    room.learn(good);
    expect((await p.transact('a.test', { pdus: [changed] })).body.pdus[forged.eventId]).to.deep.equal({});
    await server.idle();
    const stored = await server.must('alice', 'GET', `/rooms/${roomId}/event/${encodeURIComponent(forged.eventId)}`);
    expect(stored.content).to.deep.equal({});
  });

  it('with deep or huge JSON are refused, or have an error for that event, and the server continues', async () => {
    const roomId = await publicRoom();
    const room = await PartnerRoom.join(server, p, roomId, [PAT]);
    const good = room.say(PAT, 'still here');
    let deep: object = {};
    for (let i = 0; i < 2_000; i++) deep = { a: deep };
    const raw = (pdu: unknown): string => JSON.stringify(pdu);
    const tower = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;
    for (const bad of [raw({ ...good.pdu, content: deep }), `{"room_id":"${roomId}","content":${tower}}`]) {
      const body = `{"origin":"p.test","origin_server_ts":1,"pdus":[${bad}]}`;
      const answer = await p.send('a.test', 'PUT', '/_matrix/federation/v1/send/deep', undefined, { raw: body });
      expect([answer.status, answer.body.errcode]).to.deep.equal([400, 'M_BAD_JSON']);
    }
    const large = { ...good.pdu, content: { msgtype: 'm.text', body: 'x'.repeat(70_000) } };
    const answer = await p.transact('a.test', { pdus: [large, good.pdu] });
    expect(answer.status).to.equal(200);
    await server.idle();
    expect(await bodies(roomId)).to.deep.equal(['still here']);
  });

  it('of servers that the room denies have an error for each of its events, and their typing and receipts are dropped', async () => {
    const roomId = await publicRoom();
    const room = await PartnerRoom.join(server, p, roomId, [PAT]);
    await server.setState('alice', roomId, 'm.room.server_acl', { allow: ['*'], deny: ['p.test'] });
    await room.catchUp();
    const event = room.build(message('let me in'));
    const answer = await p.transact('a.test', { pdus: [event.pdu] });
    expect(answer.body.pdus[event.eventId].error).to.match(/ACL/);
    // Through a server that is not denied it comes in.
    expect((await q.transact('a.test', { pdus: [event.pdu] })).body.pdus[event.eventId]).to.deep.equal({});
    await server.idle();
    expect(await bodies(roomId)).to.deep.equal(['let me in']);
    const passing = async (): Promise<unknown> => {
      const receipt = { event_ids: [event.eventId], data: { ts: 1 } };
      const edus = [
        { edu_type: 'm.typing', content: { room_id: roomId, user_id: PAT, typing: true } },
        { edu_type: 'm.receipt', content: { [roomId]: { 'm.read': { [PAT]: receipt } } } },
      ];
      expect((await p.transact('a.test', { edus })).status).to.equal(200);
      await server.idle();
      const { rooms: seen } = await server.must('alice', 'GET', '/sync');
      return seen.join[roomId].ephemeral.events.map(({ type }: { type: string }) => type).toSorted();
    };
    expect(await passing()).to.deep.equal([]);
    await server.setState('alice', roomId, 'm.room.server_acl', { allow: ['*'], deny: [] });
    expect(await passing()).to.deep.equal(['m.receipt', 'm.typing']);
  });

  describe('with as many EDUs as they may have', () => {
    const unknown = (): string => `$${randomBytes(32).toString('base64url')}`;
    const receipt = (thread?: string): JsonObject => ({
      event_ids: [unknown()],
      data: { ts: 1, ...(thread === undefined ? {} : { thread_id: thread }) },
    });
    const inThread = (roomId: string): JsonObject => ({
      edu_type: 'm.receipt',
      content: { [roomId]: { 'm.read': { [PAT]: receipt(unknown()) } } },
    });
    const statementsFor = async (edus: readonly JsonObject[]): Promise<number> => {
      const { database } = server.services;
      const before = database.statements();
      expect((await p.transact('a.test', { edus })).status).to.equal(200);
      return database.statements() - before;
    };
    const hundred = (edu: (index: number) => JsonObject): JsonObject[] => Array.from({ length: 100 }, (_, i) => edu(i));
    /** What a transaction with an EDU that nobody handles costs. */
    let bare: number;

    before(async () => {
      await statementsFor(hundred(() => ({ edu_type: 'x', content: {} })));
      bare = await statementsFor(hundred(() => ({ edu_type: 'x', content: {} })));
    });

    it('cost a handful of statements, however many rooms their receipts name', async () => {
      const edus = Array.from({ length: 3 }, (_, edu) => ({
        edu_type: 'm.receipt',
        content: Object.fromEntries(
          Array.from({ length: 3_000 }, (_unused, i) => [`!${edu}x${i}:p.test`, { 'm.read': { [PAT]: receipt() } }]),
        ),
      }));
      expect(await statementsFor(edus)).to.be.within(1, bare + 3);
    });

    it('cost a handful of statements, however many receipts they have for rooms that are here', async () => {
      const roomId = await publicRoom();
      await PartnerRoom.join(server, p, roomId, [PAT]);
      expect(await statementsFor(hundred(() => inThread(roomId)))).to.be.within(1, bare + 8);
      const { rooms: seen } = await server.must('alice', 'GET', '/sync');
      const [{ content }] = seen.join[roomId].ephemeral.events;
      expect(Object.keys(content)).to.have.length(100);
    });

    it('cost a handful of statements, however many rooms their typing, and users their device lists and presence, name', async () => {
      const typing = hundred((i) => ({
        edu_type: 'm.typing',
        content: { room_id: `!typing${i}:p.test`, user_id: PAT, typing: true },
      }));
      expect(await statementsFor(typing)).to.be.within(1, bare + 3);
      const devices = hundred((i) => ({
        edu_type: 'm.device_list_update',
        content: { user_id: `@nobody${i}:p.test`, device_id: 'D', stream_id: i + 1, prev_id: [] },
      }));
      expect(await statementsFor(devices)).to.be.within(1, bare + 3);
      const presence = hundred((i) => ({
        edu_type: 'm.presence',
        content: { push: [{ user_id: `@nobody${i}:p.test`, presence: 'online' }] },
      }));
      expect(await statementsFor(presence)).to.be.within(1, bare + 3);
    });

    it('add no receipts in threads beyond those that are kept of a user', async () => {
      const roomId = await publicRoom();
      await PartnerRoom.join(server, p, roomId, [PAT]);
      for (let sent = 0; sent < 3; sent += 1) await statementsFor(hundred(() => inThread(roomId)));
      const room = await server.services.rooms.byId(roomId);
      const receipts = await server.services.receipts.forRoom(room ?? { nid: 0 });
      expect(receipts.inThreads(PAT)).to.have.length(THREADS);
    });
  });

  it('are answered without names that are no event ids, so that what is kept of an answer is small', async () => {
    const long = 'x'.repeat(100_000);
    const pdus = [
      ...Array.from({ length: 20 }, (_, i) => ({ room_id: '!nothere:a.test', event_id: `$${i}${long}` })),
      ...Array.from({ length: 20 }, (_, i) => ({ event_id: `$${i}${long}` })),
    ];
    const old = await publicRoom('1');
    await PartnerRoom.join(server, p, old, [PAT]);
    const here = { ...message('no'), room_id: old, event_id: `$${long}:p.test` };
    const answer = await p.transact('a.test', { pdus: [...pdus, here], txnId: 'longnames' });
    expect(answer.status).to.equal(200);
    expect(JSON.stringify(answer.body).length).to.be.below(20_000);
    const again = await p.transact('a.test', { pdus: [], txnId: 'longnames' });
    expect(again.body).to.deep.equal(answer.body);
  });

  it('whose events are staged when the process ends are not lost', async () => {
    const roomId = await publicRoom();
    const room = await PartnerRoom.join(server, p, roomId, [PAT]);
    const events = Array.from({ length: 20 }, (_, i) => room.say(PAT, `${i}`));
    const answer = await p.transact('a.test', { pdus: events.map(({ pdu }) => pdu) });
    expect(answer.status).to.equal(200);
    await server.kill();
    await server.revive();
    await server.idle();
    expect(await bodies(roomId)).to.deep.equal(events.map((_, i) => `${i}`).toReversed());
  });

  it('that wait from a server which the room denies meanwhile wait from others as well', async () => {
    const roomId = await publicRoom();
    const room = await PartnerRoom.join(server, p, roomId, [PAT]);
    const event = room.build(message('from two sides'));
    const staged = (origin: string): Promise<{ readonly seq: number }[]> =>
      stageTransaction(server.services.database, {
        origin,
        txnId: 'raced',
        answer: '{}',
        receivedTs: 0,
        events: [{ room: -1, eventId: eventIdBytes(event.eventId), json: '{}' }],
      });
    expect(await staged('p.test')).to.have.lengthOf(1);
    expect(await staged('q.test')).to.have.lengthOf(1);
    expect(await staged('q.test')).to.have.lengthOf(0);
  });

  it('of several servers for one room end in one history', async () => {
    const roomId = await publicRoom();
    const room = await PartnerRoom.join(server, p, roomId, [PAT]);
    const other = await PartnerRoom.join(server, q, roomId, [QUINN]);
    await room.catchUp();
    const mine = [room.say(PAT, 'p1'), room.say(PAT, 'p2')];
    const theirs = [other.say(QUINN, 'q1'), other.say(QUINN, 'q2')];
    await Promise.all([
      p.transact('a.test', { pdus: mine.map(({ pdu }) => pdu) }),
      q.transact('a.test', { pdus: theirs.map(({ pdu }) => pdu) }),
    ]);
    await server.idle();
    expect((await bodies(roomId)).sort()).to.deep.equal(['p1', 'p2', 'q1', 'q2']);
    const merge = await server.say('alice', roomId, 'merged');
    await room.catchUp();
    expect(room.event(merge).pdu.prev_events).to.have.length(2);
  });
});
