import { expect } from 'chai';
import { silentLogger } from '#src/kernel/logger.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import {
  EventFollower,
  type EventFollowerOptions,
  type FollowedEvent,
} from '#src/services/events/stream/event-follower.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, type EventServices, eventServices, makeRoom, message, topic } from '#test/support/event-services.ts';

const bodyOf = (event: StoredEvent): string => event.content['body'] as string;

describe('a follower of events', function () {
  this.timeout(30_000);
  let clone: TestDatabase;
  let services: EventServices;
  const open: EventFollower[] = [];

  beforeEach(async () => {
    clone = await cloneDatabase();
    services = await eventServices(clone.database);
  });
  afterEach(async () => {
    for (const follower of open.splice(0)) await follower.close();
    await services.writer.close();
    await clone.drop();
  });

  const follow = async (
    taken: string[],
    more: Partial<EventFollowerOptions> = {},
    by: EventServices = services,
  ): Promise<EventFollower> => {
    const follower = new EventFollower({
      ...by,
      timers: systemTimers,
      logger: silentLogger,
      name: 'test',
      types: ['m.room.message'],
      take: async (events: readonly FollowedEvent[]) => {
        for (const { event } of events) taken.push(bodyOf(event));
      },
      lagMs: 5,
      ...more,
    });
    open.push(follower);
    await follower.start();
    return follower;
  };
  const numbers = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => String(from + i));
  const say = async (room: Awaited<ReturnType<typeof makeRoom>>, from: number, to: number): Promise<void> => {
    await services.events.sendAll(
      room,
      numbers(from, to).map((body) => message(ALICE, body)),
    );
  };

  it('takes in what was hidden while others came after it', async () => {
    const room = await makeRoom(services);
    const taken: string[] = [];
    const follower = await follow(taken);
    await say(room, 0, 5);
    await follower.idle();
    const [event] = room.ring.events.slice(-4);
    services.stream.publish({ kind: 'revealed', room, event: event! });
    await follower.idle();
    expect(taken).to.deep.equal([...numbers(0, 5), '1']);
    await say(room, 5, 7);
    await follower.idle();
    expect(taken.slice(6)).to.deep.equal(numbers(5, 7));
  });

  it('takes in what was there before and what comes, in order, and only the types it wants', async () => {
    const room = await makeRoom(services);
    await say(room, 0, 30);
    const taken: string[] = [];
    const follower = await follow(taken, { batchSize: 7 });
    await say(room, 30, 60);
    await services.events.send(room, topic(ALICE, 'not wanted'));
    await follower.idle();
    expect(taken).to.deep.equal(numbers(0, 60));
  });

  it('goes on where a killed process ended, and hears nothing twice after a good end', async () => {
    const room = await makeRoom(services);
    const first: string[] = [];
    // The first one is killed before it looks: nothing of it is closed.
    await follow(first, { lagMs: 60_000 });
    open.pop();
    await say(room, 0, 20);
    const second: string[] = [];
    const follower = await follow(second);
    await follower.idle();
    expect(second).to.deep.equal(numbers(0, 20));
    await say(room, 20, 25);
    await follower.close();
    expect(second).to.deep.equal(numbers(0, 25));

    const third: string[] = [];
    await (await follow(third)).idle();
    expect(third).to.deep.equal([]);
    await say(room, 25, 26);
    await open.at(-1)?.idle();
    expect(third).to.deep.equal(['25']);
  });

  it('reads back from the database what does not fit into its queue', async () => {
    const room = await makeRoom(services);
    const taken: string[] = [];
    const follower = await follow(taken, { queueLimit: 10, lagMs: 60_000 });
    await follower.idle();
    for (let i = 0; i < 10; i++) await say(room, i * 5, i * 5 + 5);
    await follower.idle();
    expect(new Set(taken)).to.deep.equal(new Set(numbers(0, 50)));
    expect(taken).to.deep.equal(numbers(0, 50));
  });

  it('tries again what could not be taken in', async () => {
    const room = await makeRoom(services);
    const taken: string[] = [];
    let failures = 2;
    const follower = await follow(taken, {
      timers: { ...systemTimers, sleep: () => Promise.resolve() },
      take: async (events) => {
        if (failures-- > 0) throw new Error('the index is away');
        for (const { event } of events) taken.push(bodyOf(event));
      },
    });
    await say(room, 0, 12);
    await follower.idle();
    expect(taken).to.deep.equal(numbers(0, 12));
  });

  it('loses nothing of many rooms when it is broken off while it catches up', async () => {
    const rooms = await Promise.all(Array.from({ length: 12 }, () => makeRoom(services)));
    for (const [i, room] of rooms.entries()) await say(room, i * 10, i * 10 + 10);
    const taken: string[] = [];
    const first = await follow(taken, {
      batchSize: 3,
      take: async (events) => {
        for (const { event } of events) taken.push(bodyOf(event));
        if (taken.length > 40) void first.close();
      },
    });
    await first.idle();
    await first.close();
    expect(taken.length).to.be.within(41, 119);
    await (await follow(taken)).idle();
    expect(new Set(taken)).to.deep.equal(new Set(numbers(0, 120)));
  });
});
