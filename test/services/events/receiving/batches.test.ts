import { expect } from 'chai';
import fc from 'fast-check';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { EventReceiver } from '#src/services/events/receiving/event-receiver.ts';
import { sql } from '#src/storage/statement.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import {
  ALICE,
  BOB,
  type EventServices,
  eventServices,
  makeRoom,
  membership,
  message,
  portrait,
  topic,
} from '#test/support/event-services.ts';
import { forkStep, perform } from '#test/support/random-forks.ts';
import { CAROL, DAVE, EVE, RemoteRoom } from '#test/support/federation/remote-room.ts';
import { emptyRoom, eventsOf, joinAt, type KnownEvent, roomByIds } from '#test/support/federation/second-server.ts';

const VERDICTS = EVENT_FLAGS.rejected | EVENT_FLAGS.softFailed;
const VERSIONS = ['1', '6', '11', '12'];

describe('events that are received together', function () {
  this.timeout(120_000);
  let first: TestDatabase;
  let second: TestDatabase;
  let there: EventServices;
  let here: EventServices;
  let receiver: EventReceiver;

  before(async () => {
    first = await cloneDatabase();
    second = await cloneDatabase();
  });
  beforeEach(async () => {
    there = await eventServices(first.database);
    here = await eventServices(second.database);
    receiver = here.receiver;
  });
  after(async () => {
    await first.drop();
    await second.drop();
  });

  /** A room of another server with ALICE and users of three more. */
  const elsewhere = async (version = '12'): Promise<RemoteRoom> => {
    const remote = new RemoteRoom(there, await makeRoom(there, ALICE, version));
    await remote.catchUp();
    for (const user of [CAROL, DAVE, EVE]) await remote.accepted(membership(user, user, 'join'));
    return remote;
  };
  const flagsById = (events: readonly KnownEvent[]): Record<string, number> =>
    Object.fromEntries(events.map(({ event, flags }) => [event.eventId, flags & VERDICTS]));

  for (const version of VERSIONS) {
    it(`leave a room, however it forks, as it is where they came one by one (room version ${version})`, async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(forkStep, { minLength: 4, maxLength: 30 }),
          fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 40, maxLength: 40 }),
          async (steps, sizes) => {
            there = await eventServices(first.database);
            here = await eventServices(second.database);
            receiver = here.receiver;
            const remote = await elsewhere(version);
            for (const step of steps) await perform(there, remote, step);
            const events = await eventsOf(there, remote.room);
            // Nothing random comes after what was before the last event of the room's creation.
            const joinedAt = 4;
            const room = await joinAt(here, receiver, remote.room, events, joinedAt);
            for (let at = joinedAt + 1; at < events.length;) {
              const size = sizes.pop() ?? 1;
              await receiver.receiveMany(
                room,
                events.slice(at, at + size).map(({ event }) => event),
              );
              at += size;
            }
            const received = await eventsOf(here, room);
            expect(flagsById(received)).to.deep.equal(flagsById(events.slice(joinedAt)));
            expect(await roomByIds(here, room)).to.deep.equal(await roomByIds(there, remote.room));
            const again = await eventServices(second.database);
            expect(portrait((await again.rooms.byId(room.roomId))!)).to.deep.equal(portrait(room));
          },
        ),
        { numRuns: 10, endOnFailure: true },
      );
    });
  }

  it('cost one statement to look them up and one to write them', async () => {
    const remote = await elsewhere();
    const before = (await eventsOf(there, remote.room)).length;
    for (let i = 0; i < 100; i++) {
      await remote.accepted(
        i % 10 === 0 ? membership(CAROL, CAROL, 'join', { displayname: `${i}` }) : message(DAVE, `${i}`),
      );
    }
    const events = await eventsOf(there, remote.room);
    const room = await joinAt(here, receiver, remote.room, events, before - 1);
    // What it takes to know the names is not counted.
    await receiver.receiveMany(room, [events[before]!.event, events[before + 1]!.event]);
    const count = here.database.statements();
    const receptions = await receiver.receiveMany(
      room,
      events.slice(before + 2).map(({ event }) => event),
    );
    expect(here.database.statements() - count).to.equal(2);
    expect(receptions.map(({ outcome }) => outcome)).to.deep.equal(Array.from({ length: 98 }, () => 'accepted'));
    expect(await roomByIds(here, room)).to.deep.equal(await roomByIds(there, remote.room));
  });

  it('are each answered, whatever became of the others', async () => {
    const remote = await elsewhere();
    const count = (await eventsOf(there, remote.room)).length;
    await remote.accepted(message(CAROL, 'one'));
    await remote.accepted(message(CAROL, 'two'));
    const [one, two] = (await eventsOf(there, remote.room)).slice(-2).map(({ event }) => event);
    const room = await joinAt(here, receiver, remote.room, await eventsOf(there, remote.room), count - 1);
    expect((await receiver.receiveMany(room, [two!, one!, one!, two!])).map(({ outcome }) => outcome)).to.deep.equal([
      'missing',
      'accepted',
      'known',
      'accepted',
    ]);
  });

  it('are told in the order in which they came, each once', async () => {
    const remote = await elsewhere();
    const count = (await eventsOf(there, remote.room)).length;
    for (let i = 0; i < 10; i++) await remote.accepted(i % 3 === 0 ? topic(CAROL, `${i}`) : message(DAVE, `${i}`));
    const events = await eventsOf(there, remote.room);
    const room = await joinAt(here, receiver, remote.room, events, count - 1);
    const told: string[] = [];
    here.stream.on('appended', (appended) => {
      told.push(...appended.events.map(({ event }) => event.eventId));
    });
    const sent = events.slice(count).map(({ event }) => event);
    await receiver.receiveMany(room, sent);
    expect(told).to.deep.equal(sent.map(({ eventId }) => eventId));
  });

  it('redact each other within one batch, and relate to each other', async () => {
    const remote = await elsewhere('11');
    const count = (await eventsOf(there, remote.room)).length;
    const target = await remote.accepted(message(CAROL, 'regretted'));
    const reaction = await remote.accepted({
      type: 'm.reaction',
      sender: DAVE,
      content: { 'm.relates_to': { rel_type: 'm.annotation', event_id: target, key: 'x' } },
    });
    await remote.accepted({ type: 'm.room.redaction', sender: CAROL, content: {}, redacts: target });
    const events = await eventsOf(there, remote.room);
    const original = remote.replay.events.get(target)!.event;
    const sent = events.slice(count).map(({ event }) => (event.eventId === target ? original : event));
    const room = await joinAt(here, receiver, remote.room, events, count - 1);
    await receiver.receiveMany(room, sent);
    expect((await here.events.find(room, target))!.content).to.deep.equal({});
    const [row] = await here.database.query<{ rel: number | null }>(
      sql('test_rel_of_event', 'select e.rel from events e where e.room = $1 and e.nid = $2'),
      [room.nid, (await here.events.find(room, reaction))!.nid],
    );
    expect(row!.rel).to.equal((await here.events.find(room, target))!.nid);
    const again = await eventServices(second.database);
    expect((await again.loader.byId(room, target))!.content).to.deep.equal({});
  });

  it('that the database refuses leave the room as it was, and what came before them', async () => {
    const remote = await elsewhere();
    const count = (await eventsOf(there, remote.room)).length;
    for (let i = 0; i < 5; i++) await remote.accepted(topic(CAROL, `${i}`));
    const events = await eventsOf(there, remote.room);
    const room = await joinAt(here, receiver, remote.room, events, count - 1);
    const before = portrait(room);
    await eventServices(second.database);
    const sent = events.slice(count).map(({ event }) => event);
    expect(await receiver.receiveMany(room, sent).catch((error: unknown) => error)).to.be.instanceOf(Error);
    expect(room.isAhead).to.equal(false);
    expect(portrait(room)).to.deep.equal(before);
    expect(room.turns.isTaken).to.equal(false);
  });

  describe('as outliers', () => {
    for (const version of ['10', '12'])
      it(`are judged by their auth events, in whatever order they come, and nobody is shown them (room version ${version})`, async () => {
        const remote = await elsewhere(version);
        await there.events.send(remote.room, {
          type: 'm.room.power_levels',
          sender: ALICE,
          stateKey: '',
          // Since v12 creators are not named there.
          content: { users: version === '12' ? {} : { [ALICE]: 100 }, state_default: 50 },
        });
        await remote.catchUp();
        const forbidden = await remote.send(topic(CAROL, 'mine'));
        expect(forbidden.reception.outcome).to.equal('rejected');
        const events = await eventsOf(there, remote.room);
        const room = await emptyRoom(here, remote.room);
        const stored = await receiver.storeOutliers(room, events.map(({ event }) => event).toReversed());
        for (const { event, flags } of events) {
          const reception = stored.get(event.eventId)!;
          expect(reception.outcome, event.pdu.type).to.equal((flags & 2) === 0 ? 'accepted' : 'rejected');
          expect('event' in reception && reception.event.nid).to.be.below(0);
        }
        expect(room.head.extremities).to.deep.equal([]);
        expect(room.ring.events).to.deep.equal([]);
        const again = await receiver.storeOutliers(room, [events[3]!.event]);
        expect(again.get(events[3]!.event.eventId)).to.deep.equal({ outcome: 'known' });
      });

    it('are not stored while auth events of theirs are missing', async () => {
      const remote = await elsewhere();
      const events = await eventsOf(there, remote.room);
      const room = await emptyRoom(here, remote.room);
      const join = events.at(-1)!.event;
      const stored = await receiver.storeOutliers(room, [join]);
      expect(stored.get(join.eventId)).to.deep.include({ outcome: 'missing' });
      await receiver.storeOutliers(
        room,
        events.map(({ event }) => event),
      );
      const [row] = await here.database.query<{ n: number }>(
        sql('test_outlier_count', 'select count(*)::int as n from events where room = $1 and flags & 8 <> 0'),
        [room.nid],
      );
      expect(row!.n).to.equal(events.length);
    });

    it('come into the timeline when they are sent, as if they had never been here, and keep their id', async () => {
      const remote = await elsewhere();
      const count = (await eventsOf(there, remote.room)).length;
      const named = await remote.accepted(topic(CAROL, 'known beforehand'));
      await remote.accepted(message(DAVE, 'after it'));
      const events = await eventsOf(there, remote.room);
      const room = await joinAt(here, receiver, remote.room, events, count - 1);
      await receiver.storeOutliers(room, [events[count]!.event]);
      const old = (await here.events.find(room, named))!;
      const told: string[] = [];
      here.stream.on('appended', (appended) => {
        told.push(...appended.events.map(({ event }) => event.eventId));
      });
      // What is built on an outlier cannot be judged before it is more.
      expect(await receiver.receive(room, events[count + 1]!.event)).to.deep.equal({
        outcome: 'missing',
        ids: [named],
      });
      await receiver.receiveMany(
        room,
        events.slice(count).map(({ event }) => event),
      );
      expect(told).to.deep.equal(events.slice(count).map(({ event }) => event.eventId));
      const found = (await here.events.find(room, named))!;
      expect(found.nid).to.be.above(0);
      expect(room.stateText('m.room.topic', 'topic')).to.equal('known beforehand');
      expect((await here.loader.load([{ room, nid: old.nid }])).get(old.nid)!.eventId).to.equal(named);
      const again = await eventServices(second.database);
      const [shadow] = (await again.loader.load([{ room, nid: old.nid }])).values();
      expect(shadow!.eventId).to.equal(named);
    });
  });

  describe('after a gap', () => {
    it('have the state that was told, beside what is known here, and note what is missing', async () => {
      const remote = await elsewhere();
      const count = (await eventsOf(there, remote.room)).length;
      await remote.accepted(topic(CAROL, 'in the gap'));
      for (let i = 0; i < 3; i++) await remote.accepted(message(DAVE, `gap ${i}`));
      const last = await remote.accepted(message(CAROL, 'after the gap'));
      const events = await eventsOf(there, remote.room);
      const room = await joinAt(here, receiver, remote.room, events, count - 1);
      await here.events.send(room, membership(BOB, BOB, 'join'));
      const event = events.find((one) => one.event.eventId === last)!.event;
      expect((await receiver.receive(room, event)).outcome).to.equal('missing');
      const state = [...remote.replay.stateAfter([events.at(-2)!.event.eventId]).values()];
      expect((await receiver.receiveAt(room, event, state)).outcome).to.equal('missing');
      await receiver.storeOutliers(
        room,
        events.slice(count, -1).map((one) => one.event),
      );
      expect((await receiver.receiveAt(room, event, state)).outcome).to.equal('accepted');
      expect(room.stateText('m.room.topic', 'topic')).to.equal('in the gap');
      expect(room.member(BOB)?.membership).to.equal('join');
      expect(room.head.extremities).to.have.length(2);
      const missing = await here.database.query<{ event_id: Buffer }>(
        sql('test_missing', 'select event_id from missing_prev where room = $1 and referrer > 0 order by referrer'),
        [room.nid],
      );
      expect(missing.map((row) => row.event_id.toString('base64url'))).to.include(
        events.at(-2)!.event.eventId.slice(1),
      );
      const merge = await here.events.send(room, message(BOB, 'together again'));
      expect(merge.pdu.prev_events).to.have.length(2);
      const again = await eventServices(second.database);
      expect(portrait((await again.rooms.byId(room.roomId))!)).to.deep.equal(portrait(room));
    });
  });
});
