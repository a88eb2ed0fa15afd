import { expect } from 'chai';
import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import type { InProcessServer } from '#test/support/in-process-server.ts';
import { JoinableRoom } from '#test/support/federation/joinable-room.ts';
import { PartialRoom } from '#test/support/federation/partial-room.ts';
import { PartnerRoom } from '#test/support/federation/partner-room.ts';
import type { RemotePartner } from '#test/support/federation/remote-partner.ts';
import { until } from '#test/support/until.ts';

const PAT = '@pat:p.test';
/** Bytes of the state of a room that other servers may add: at once, and in a second. */
const AT_ONCE = 300_000;
const PER_SECOND = 1_000;
/** The same of all rooms together. */
const TOTAL_AT_ONCE = 700_000;
const SIZE = 50_000;

describe('state that other servers add to a room', function () {
  this.timeout(120_000);
  let federation: Federation;
  let server: InProcessServer;
  let p: RemotePartner;
  let q: RemotePartner;

  before(async () => {
    federation = await startFederation(['a.test'], {
      partners: ['p.test', 'q.test'],
      server: {
        config: { federation: { fasterJoinsWaitMs: 0 } },
        rateLimits: {
          remote_state_bytes: { burst: AT_ONCE, perSecond: PER_SECOND },
          remote_state_bytes_total: { burst: TOTAL_AT_ONCE, perSecond: PER_SECOND },
          joined_state_bytes: { burst: AT_ONCE, perSecond: PER_SECOND },
        },
      },
    });
    server = federation.server('a.test');
    p = federation.partner('p.test');
    q = federation.partner('q.test');
  });
  after(() => federation.stop());

  let rooms = 0;
  const sharedRoom = async (): Promise<PartnerRoom> => {
    const roomId = await server.room('alice', {
      preset: 'public_chat',
      creation_content: { n: (rooms += 1) },
      power_level_content_override: { state_default: 0 },
    });
    return PartnerRoom.join(server, p, roomId, [PAT]);
  };
  const state = (room: PartnerRoom, key: string, text = 'x'.repeat(SIZE)): IdentifiedPdu =>
    room.make({ type: 'org.large', sender: PAT, stateKey: key, content: { text } });
  const roomOf = async ({ roomId }: PartnerRoom) => (await server.services.rooms.byId(roomId))!;
  const grown = async (room: PartnerRoom): Promise<number> =>
    [...(await roomOf(room)).state.keys()].filter((key) => key.startsWith('org.large')).length;
  /** Sends without waiting until it is known what becomes of it. */
  const transact = (events: readonly IdentifiedPdu[]) => p.transact('a.test', { pdus: events.map(({ pdu }) => pdu) });
  const newest = async ({ roomId }: PartnerRoom): Promise<string | undefined> =>
    server.bodies(await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b&limit=1`))[0];
  /** Lets time pass until something has happened. */
  const passing = (what: string, hasHappened: () => Promise<boolean>): Promise<unknown> =>
    until(what, async () => {
      await federation.clock.advance(10_000);
      return hasHappened();
    });
  const slowed = async (): Promise<number> =>
    Number(/tsudoi_federation_slowed_rooms (\d+)/.exec(await server.services.metrics.render())?.[1]);

  it('is accepted at once up to an amount, then at a pace, all of it in the end; other rooms do not wait', async () => {
    const room = await sharedRoom();
    const other = await sharedRoom();
    const events = Array.from({ length: 12 }, (_, index) => state(room, `k${index}`));
    const said = room.say(PAT, 'after all of it');
    await transact(events.slice(0, 3));
    await until('the first are accepted', async () => (await grown(room)) === 3);
    expect((await transact([...events.slice(3), said])).body.pdus[said.eventId]).to.deep.equal({});
    await until('the room is slowed', async () => (await slowed()) === 1);
    const atOnce = await grown(room);
    expect(atOnce).to.be.within(AT_ONCE / SIZE - 1, AT_ONCE / SIZE + 1);
    // Nothing else happens without time passing; another room of the same server goes on.
    await transact([other.say(PAT, 'elsewhere')]);
    await until('the other room goes on', async () => (await newest(other)) === 'elsewhere');
    expect(await grown(room)).to.equal(atOnce);
    await federation.clock.advance((SIZE / PER_SECOND) * 1_000 + 1_000);
    await until('one more is accepted', async () => (await grown(room)) === atOnce + 1);
    await passing('all is accepted', async () => (await newest(room)) === 'after all of it');
    expect(await grown(room)).to.equal(events.length);
    await passing('the room is not slowed any more', async () => (await slowed()) === 0);
    expect(server.lines.filter(({ message }) => message.includes('grow too fast'))).to.have.length(1);
  });

  it('counts however it comes: with what an event lacks that follows on it, and what takes the place of something as what it has more', async () => {
    const room = await sharedRoom();
    room.serveHistory();
    const begin = state(room, 'k0');
    await room.send([begin]);
    // What is as large costs nothing.
    for (let round = 0; round < 10; round += 1) await room.send([state(room, 'k0', 'y'.repeat(SIZE))]);
    expect(await slowed()).to.equal(0);
    for (let index = 1; index < 9; index += 1) state(room, `k${index}`);
    const said = room.say(PAT, 'behind a gap');
    await transact([said]);
    await until('the room is slowed', async () => {
      await federation.clock.advance(0);
      await transact([room.say(PAT, 'next')]);
      return (await slowed()) === 1;
    });
    await passing('all is accepted', async () => (await newest(room)) === 'next');
    expect(await grown(room)).to.equal(9);
    await passing('the room is not slowed any more', async () => (await slowed()) === 0);
  });

  it('keeps no event of other rooms back: a server is told which ones have no place, and is asked for them later', async () => {
    const room = await sharedRoom();
    const other = await sharedRoom();
    room.serveHistory();
    await transact(Array.from({ length: 3 }, (_, index) => state(room, `first${index}`)));
    await until('the first are accepted', async () => (await grown(room)) === 3);
    await transact(Array.from({ length: 12 }, (_, index) => state(room, `k${index}`)));
    await until('the room is slowed', async () => (await slowed()) === 1);
    let refused: IdentifiedPdu | undefined;
    for (let round = 0; round < 25 && refused === undefined; round += 1) {
      const said = Array.from({ length: 50 }, (_, index) => room.say(PAT, `${round} ${index}`));
      const elsewhere = other.say(PAT, `elsewhere ${round}`);
      const { body, status } = await p.transact('a.test', {
        pdus: [...said, elsewhere].slice(1).map(({ pdu }) => pdu),
      });
      expect([status, body.pdus[elsewhere.eventId]]).to.deep.equal([200, {}]);
      refused = said.find(({ eventId }) => body.pdus[eventId]?.error !== undefined);
      await until('the other room goes on', async () => (await newest(other)) === `elsewhere ${round}`);
    }
    expect(refused, 'an event without a place').not.to.equal(undefined);
    await passing('the room is not slowed any more', async () => (await slowed()) === 0);
    await server.idle();
    const last = room.say(PAT, 'at last');
    await room.send([last]);
    expect(await newest(room)).to.equal('at last');
    const path = `/rooms/${room.roomId}/event/${encodeURIComponent(refused?.eventId ?? '')}`;
    expect((await server.must('alice', 'GET', path)).event_id).to.equal(refused?.eventId);
  });

  it('counts once, however many servers the events of the room wait for, and without what its users add and what completes a partial state', async () => {
    const ofQ = '@n:q.test';
    class Shared extends PartialRoom {
      override signedBy(sender: string): ReturnType<PartialRoom['signedBy']> {
        return sender === ofQ ? { signingKey: q.signingKey, serverName: q.serverName } : {};
      }
    }
    const members = Array.from({ length: 20 }, (_, index) => `@m${index}:p.test`);
    const room = new Shared(p, [PAT, ofQ, ...members], ['p.test', 'q.test']);
    const levels = { users: { [room.creator]: 100 }, state_default: 0 };
    room.add({ type: 'm.room.power_levels', sender: room.creator, stateKey: '', content: levels });
    const { rateLimiter, rooms: known } = server.services;
    const charged: number[] = [];
    const charge = rateLimiter.charge.bind(rateLimiter);
    rateLimiter.charge = (bucket, key, tokens) => {
      if (bucket === 'remote_state_bytes' && key === room.roomId) charged.push(tokens);
      charge(bucket, key, tokens);
    };
    await server.must('erin', 'POST', `/join/${encodeURIComponent(room.roomId)}?via=p.test`, {});
    const partial = await known.byId(room.roomId);
    expect(partial?.partial).not.to.equal(undefined);
    const content = { text: 'x'.repeat(SIZE) };
    const large = room.beside({ type: 'org.large', sender: room.creator, stateKey: 'k', content });
    const askFor = async (partner: RemotePartner, sender: string): Promise<void> => {
      // What comes after what is kept back needs the state there, which is asked for when that of the room is whole.
      room.say(sender, 'kept back');
      const { pdu } = room.say(sender, 'missing');
      const path = `/_matrix/federation/v1/get_missing_events/${encodeURIComponent(room.roomId)}`;
      partner.on('POST', path, () => ({ body: { events: [pdu] } }));
      await partner.transact('a.test', { pdus: [room.say(sender, 'waits').pdu] });
      await partner.request('POST', /get_missing_events/, ({ path }) => path.includes(encodeURIComponent(room.roomId)));
    };
    await askFor(p, PAT);
    await askFor(q, ofQ);
    await transact([large]);
    await until('the large one is accepted', async () => partial?.state.has('org.large\0k') === true);
    await server.must('erin', 'PUT', `/rooms/${encodeURIComponent(room.roomId)}/state/org.own/k`, content);
    room.open();
    await until('the state is whole', async () => partial?.partial === undefined);
    await server.idle();
    await server.services.inboundQueue.idle();
    rateLimiter.charge = charge;
    expect(partial?.members.size).to.equal(members.length + 4);
    // With the membership of its sender, which was not known yet.
    expect(charged.reduce((sum, one) => sum + one, 0)).to.be.within(SIZE, SIZE + 1_000);
  });

  it('comes at a pace to all rooms together, but to those that hardly grow', async () => {
    const rooms: PartnerRoom[] = [];
    for (let index = 0; index < 8; index += 1) rooms.push(await sharedRoom());
    const calm = await sharedRoom();
    // Each of them within what is free for a room.
    for (const room of rooms) await transact(Array.from({ length: 2 }, (_, index) => state(room, `k${index}`)));
    await until('some are slowed', async () => {
      for (const room of rooms) await transact([room.say(PAT, 'next')]);
      return (await slowed()) > 0;
    });
    await transact([state(calm, 'k', 'little'), calm.say(PAT, 'goes on')]);
    await until('the calm room goes on', async () => (await newest(calm)) === 'goes on');
    for (const room of rooms)
      await passing('all is accepted', async () => (await newest(room)) === 'next' && (await grown(room)) === 2);
    await passing('no room is slowed any more', async () => (await slowed()) === 0);
    await server.idle();
  });

  it('is brought here by a user who joins as far as they do not owe for earlier ones', async () => {
    const large = (): JoinableRoom => {
      const room = new JoinableRoom(q);
      for (let index = 0; index < 8; index += 1)
        room.add({
          type: 'org.large',
          sender: room.creator,
          stateKey: `k${index}`,
          content: { text: 'x'.repeat(SIZE) },
        });
      room.serveJoins();
      return room;
    };
    const join = (user: string, room: JoinableRoom) =>
      server.ask(user, 'POST', `/join/${encodeURIComponent(room.roomId)}?server_name=q.test`, {});
    expect((await join('bob', large())).status).to.equal(200);
    const next = large();
    const { body, status } = await join('bob', next);
    expect([status, body.errcode, body['org.tsudoi.limiter']]).to.deep.equal([
      429,
      'M_LIMIT_EXCEEDED',
      'joined_state_bytes',
    ]);
    // Rooms of this server, and those that are here already, are free; others owe nothing.
    await server.join(
      'bob',
      await server.room('alice', { preset: 'public_chat', creation_content: { n: (rooms += 1) } }),
    );
    expect((await join('carol', next)).status).to.equal(200);
    expect((await join('bob', next)).status).to.equal(200);
    for (let round = 0; round < 2; round += 1) expect((await join('exempt-dave', large())).status).to.equal(200);
    await federation.clock.advance(body.retry_after_ms);
    expect((await join('bob', large())).status).to.equal(200);
  });
});
