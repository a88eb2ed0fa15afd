import { expect } from 'chai';
import { decodeSyncToken } from '#src/protocol/wire/position.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import {
  ALICE,
  BOB,
  type EventServices,
  eventServices,
  makeRoom,
  membership,
  message,
  topic,
} from '#test/support/event-services.ts';
import { CAROL, DAVE, RemoteRoom } from '#test/support/federation/remote-room.ts';
import { eventsOf, joinAt } from '#test/support/federation/second-server.ts';
import {
  type ClientEvent,
  type RoomBody,
  type SyncBody,
  syncRequest,
  type SyncWorld,
  syncWorld,
} from './sync-world.ts';

describe('sync over a gap in what other servers sent', function () {
  this.timeout(60_000);
  let first: TestDatabase;
  let second: TestDatabase;
  let there: EventServices;
  let world: SyncWorld;
  let room: Room;
  let remote: RemoteRoom;
  let afterGap: string;
  let missed: string[];
  let token: string;

  const body = async (since: string | undefined, filter = {}): Promise<SyncBody> =>
    JSON.parse((await world.sync.sync(syncRequest(BOB, since, filter))).body) as SyncBody;
  const ids = (events: readonly ClientEvent[] | undefined): string[] => (events ?? []).map((event) => event.event_id);
  const inRoom = (answer: SyncBody): RoomBody => answer.rooms!.join![room.roomId]!;

  before(async () => {
    first = await cloneDatabase();
    second = await cloneDatabase();
  });
  after(async () => {
    await first.drop();
    await second.drop();
  });
  beforeEach(async () => {
    there = await eventServices(first.database);
    world = await syncWorld(second.database);
    remote = new RemoteRoom(there, await makeRoom(there, ALICE, '10'));
    await remote.catchUp();
    for (const user of [CAROL, DAVE]) await remote.accepted(membership(user, user, 'join'));
    const joined = await eventsOf(there, remote.room);
    const receiver = world.receiver;
    room = await joinAt(world, receiver, remote.room, joined, joined.length - 1);
    await world.events.send(room, membership(BOB, BOB, 'join'));
    token = (await body(undefined)).next_batch;
    for (let i = 0; i < 3; i++) await world.events.send(room, message(BOB, `alone ${i}`));
    missed = [await remote.accepted(topic(CAROL, 'missed')), await remote.accepted(message(DAVE, 'missed as well'))];
    afterGap = await remote.accepted(message(CAROL, 'after the gap'));
    const events = await eventsOf(there, remote.room);
    await receiver.storeOutliers(
      room,
      events.slice(joined.length, -1).map(({ event }) => event),
    );
    const state = [...remote.replay.stateAfter([missed[1]!]).values()];
    const reception = await receiver.receiveAt(room, events.at(-1)!.event, state);
    expect(reception.outcome).to.equal('accepted');
  });

  it('is limited and begins after the gap, without what local users said before it', async () => {
    const { timeline, state } = inRoom(await body(token));
    expect(timeline.limited).to.equal(true);
    expect(ids(timeline.events)).to.deep.equal([afterGap]);
    expect(ids(state?.events)).to.deep.equal([missed[0]]);
  });

  it('resumes from there with what comes afterwards, and is not limited again', async () => {
    const { next_batch: next } = await body(token);
    const more = await world.events.send(room, message(BOB, 'hello again'));
    const { timeline } = inRoom(await body(next));
    expect(timeline.limited).to.equal(false);
    expect(ids(timeline.events)).to.deep.equal([more.eventId]);
    expect(ids(inRoom(await body(token)).timeline.events)).to.deep.equal([afterGap, more.eventId]);
  });

  it('has a prev_batch before which everything lies that had come until then', async () => {
    const { timeline } = inRoom(await body(token));
    const upTo = decodeSyncToken(timeline.prev_batch)!.vector[room.shard]!;
    const [gap] = room.ring.between(upTo, Infinity)!;
    expect(gap!.eventId).to.equal(afterGap);
  });

  it('is the same for a first sync, and after a restart', async () => {
    expect(ids(inRoom(await body(undefined)).timeline.events)).to.deep.equal([afterGap]);
    world = await syncWorld(second.database);
    room = (await world.rooms.byId(room.roomId))!;
    expect(ids(inRoom(await body(undefined)).timeline.events)).to.deep.equal([afterGap]);
    const again = inRoom(await body(token, { timeline: { limit: 20 } }));
    expect(again.timeline.limited).to.equal(true);
    expect(ids(again.timeline.events)).to.deep.equal([afterGap]);
    expect(ids(again.state?.events)).to.deep.equal([missed[0]]);
  });
});
