import { expect } from 'chai';
import { type Federation, type RemotePartner, startFederation } from '#test/support/federation/federation.ts';
import type { InProcessServer, Json } from '#test/support/in-process-server.ts';
import { PartnerRoom } from '#test/support/federation/partner-room.ts';

const PAT = '@pat:p.test';
const HOUR = 3_600_000;
const YEAR = 365 * 24 * HOUR;

describe('a server whose clock is wrong', function () {
  this.timeout(60_000);
  let federation: Federation;
  let a: InProcessServer;
  let p: RemotePartner;
  let rooms = 0;

  before(async () => {
    federation = await startFederation(['a.test'], { partners: ['p.test', 'q.test', 'r.test', 's.test'] });
    a = federation.server('a.test');
    p = federation.partner('p.test');
  });
  after(() => federation?.stop());

  for (const version of ['10', '12'])
    it(`has its events shown in the order in which they come, unless they are of a time for which its keys are not (room version ${version})`, async () => {
      const wish = {
        preset: 'public_chat',
        room_version: version,
        creation_content: { n: (rooms += 1) },
        power_level_content_override: { state_default: 0 },
      };
      const roomId = await a.room('alice', wish);
      const room = await PartnerRoom.join(a, p, roomId, [PAT]);
      const { next_batch: since } = await a.must('alice', 'GET', '/sync');
      const now = federation.clock.now();
      const times = [now - 30 * YEAR, now + HOUR, 0, now - HOUR, now];
      // "The key must be valid at the time": nobody vouches for it years ahead.
      for (const ts of [now + 10 * YEAR, Number.MAX_SAFE_INTEGER]) {
        const early = room.build({ type: 'm.room.message', sender: PAT, content: { body: 'too early' }, ts });
        expect((await p.transact('a.test', { pdus: [early.pdu] })).body.pdus[early.eventId].error).to.be.a('string');
      }
      for (const [index, ts] of times.entries()) {
        await room.send([room.say(PAT, `p${index}`, { ts })]);
        await room.send([
          room.make({ type: 'm.room.topic', sender: PAT, stateKey: '', content: { topic: `${index}` }, ts }),
        ]);
        await a.say('alice', roomId, `a${index}`);
        await room.catchUp();
      }
      const expected = times.flatMap((_, index) => [`p${index}`, `a${index}`]);
      const page = await a.must('alice', 'GET', `/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=100`);
      expect(a.bodies(page).toReversed()).to.deep.equal(expected);
      const filter = encodeURIComponent('{"room":{"timeline":{"limit":100}}}');
      const news = await a.must('alice', 'GET', `/sync?since=${since}&filter=${filter}`);
      const { events } = news.rooms.join[roomId].timeline;
      expect(a.bodies({ chunk: events })).to.deep.equal(expected);
      for (const event of events as Json[]) expect(event.unsigned.age, event.content.body).to.be.a('number');
      // What is sent here says what time it is here, and comes after all of that.
      const own = events.filter((event: Json) => event.sender !== PAT);
      for (const event of own) expect(event.origin_server_ts).to.equal(now);
      for (const ts of [0, now, now + YEAR, Number.MAX_SAFE_INTEGER])
        for (const dir of ['f', 'b']) {
          const path = `/v1/rooms/${encodeURIComponent(roomId)}/timestamp_to_event?ts=${ts}&dir=${dir}`;
          // Nothing that was accepted is later than in an hour.
          const isAfterAll = dir === 'f' && ts > now + HOUR;
          expect((await a.ask('alice', 'GET', path)).status, path).to.equal(isAfterAll ? 404 : 200);
        }
      await a.restart();
      const after = await a.must('alice', 'GET', `/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=100`);
      expect(a.bodies(after).toReversed()).to.deep.equal(expected);
    });

  it('is believed while its keys are valid by ours, and told that it is not when they seem to have expired', async () => {
    const path = '/_matrix/federation/v1/publicRooms';
    // A few hours are no matter: keys are published for longer.
    for (const [name, skew] of [
      ['q.test', -6 * HOUR],
      ['r.test', 6 * HOUR],
    ] as const) {
      const partner = federation.partner(name);
      const valid = federation.clock.now() + skew + 24 * HOUR;
      partner.on('GET', '/_matrix/key/v2/server', () => ({ body: partner.publishedKeys({ valid_until_ts: valid }) }));
      expect((await partner.send('a.test', 'GET', path)).status, name).to.equal(200);
    }
    const s = federation.partner('s.test');
    const past = federation.clock.now() - HOUR;
    s.on('GET', '/_matrix/key/v2/server', () => ({ body: s.publishedKeys({ valid_until_ts: past }) }));
    const refused = await s.send('a.test', 'GET', path);
    expect([refused.status, refused.body.errcode]).to.deep.equal([401, 'M_UNAUTHORIZED']);
    // As soon as its clock is right again.
    s.on('GET', '/_matrix/key/v2/server', () => ({ body: s.publishedKeys() }));
    await federation.clock.advance(HOUR);
    expect((await s.send('a.test', 'GET', path)).status).to.equal(200);
  });

  it('may send receipts, typing and presence with times of its own', async () => {
    const roomId = await a.room('alice', { preset: 'public_chat', creation_content: { n: (rooms += 1) } });
    const room = await PartnerRoom.join(a, p, roomId, [PAT]);
    const said = await a.say('alice', roomId, 'read me');
    await room.catchUp();
    for (const ts of [0, federation.clock.now() + 10 * YEAR, Number.MAX_SAFE_INTEGER]) {
      const read = { [roomId]: { 'm.read': { [PAT]: { event_ids: [said], data: { ts } } } } };
      const push = [{ user_id: PAT, presence: 'online', last_active_ago: ts, currently_active: true }];
      const answer = await p.transact('a.test', {
        edus: [
          { edu_type: 'm.receipt', content: read },
          { edu_type: 'm.presence', content: { push } },
        ],
      });
      expect(answer.status).to.equal(200);
      await a.idle();
      const { rooms: joined } = await a.must('alice', 'GET', '/sync');
      const receipts = joined.join[roomId].ephemeral.events.find((event: Json) => event.type === 'm.receipt');
      expect(receipts.content[said]['m.read'][PAT].ts).to.be.a('number');
    }
  });
});
