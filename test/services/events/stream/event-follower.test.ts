import { expect } from 'chai';
import { systemClock } from '#src/kernel/clock.ts';
import { silentLogger } from '#src/kernel/logger.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { PrometheusMetrics } from '#src/app/ground/metrics.ts';
import { EventFollower, type EventFollowerOptions } from '#src/services/events/stream/event-follower.ts';
import type { FollowedEvent } from '#src/services/events/stream/followed-event.ts';
import { followerCursors } from '#src/storage/events/event-followers.ts';
import { nextEventSetAside } from '#src/storage/events/events-set-aside.ts';
import { tailRow } from '#src/services/room-model/room/tail-row.ts';
import { sql } from '#src/storage/statement.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { type Line, recordingLogger } from '#test/support/recording-logger.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, type EventServices, eventServices, makeRoom, message, topic } from '#test/support/event-services.ts';

const bodyOf = (event: StoredEvent): string => event.content['body'] as string;

describe('a follower of events', function () {
  this.timeout(60_000);
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
      clock: systemClock,
      timers: systemTimers,
      logger: silentLogger,
      metrics: noMetrics,
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

  /** Shows an event that was hidden, as those do who judge it anew. */
  const reveal = async (room: Awaited<ReturnType<typeof makeRoom>>, event: StoredEvent): Promise<void> => {
    const { stream, writer } = services;
    const position = writer.allocate(room.shard);
    await writer.append({
      positions: [position],
      events: { events: [], late: stream.lateRows(room, event), tails: [tailRow(room, position)] },
      publish: () => {
        room.moved(position);
        stream.publish({ kind: 'revealed', room, event });
      },
    });
  };

  it('follows what was hidden while others came after it', async () => {
    const room = await makeRoom(services);
    const taken: string[] = [];
    const follower = await follow(taken);
    await say(room, 0, 5);
    await follower.idle();
    const [event] = room.ring.events.slice(-4);
    await reveal(room, event!);
    await follower.idle();
    expect(taken).to.deep.equal([...numbers(0, 5), '1']);
    await say(room, 5, 7);
    await follower.idle();
    expect(taken.slice(6)).to.deep.equal(numbers(5, 7));
  });

  it('follows what was hidden when the process ended before it did, and though the database failed meanwhile', async () => {
    const room = await makeRoom(services);
    const taken: string[] = [];
    const killed = await follow(taken, { lagMs: 60_000 });
    await say(room, 0, 5);
    await killed.idle();
    await reveal(room, room.ring.events.at(-4)!);
    // Nothing is processed after the kill; it listens no longer.
    open.splice(0);
    let failures = 2;
    const next = await follow(taken, {
      take: async (events) => {
        if (failures-- > 0) throw Object.assign(new Error('the connection broke'), { code: '57P01' });
        for (const { event } of events) taken.push(bodyOf(event));
      },
      timers: { ...systemTimers, sleep: () => Promise.resolve() },
    });
    await next.idle();
    expect(taken).to.deep.equal([...numbers(0, 5), '1']);
  });

  it('follows everything that was hidden, though more is shown at once than fits into its queue, and nothing that it does not want', async () => {
    const room = await makeRoom(services);
    const taken: string[] = [];
    const follower = await follow(taken, { queueLimit: 3 });
    const other = await follow([], { name: 'other', types: ['m.room.topic'] });
    await say(room, 0, 10);
    await follower.idle();
    taken.length = 0;
    for (const event of room.ring.events.slice(-10)) await reveal(room, event);
    await follower.idle();
    expect(taken).to.deep.equal(numbers(0, 10));
    await other.idle();
    expect(await nextEventSetAside(clone.database, 'other')).to.equal(undefined);
  });

  it('follows what was there before and what comes, in order, and only the types it wants', async () => {
    const room = await makeRoom(services);
    await say(room, 0, 30);
    const taken: string[] = [];
    const follower = await follow(taken, { batchSize: 7 });
    await say(room, 30, 60);
    await services.events.send(room, topic(ALICE, 'not wanted'));
    await follower.idle();
    expect(taken).to.deep.equal(numbers(0, 60));
  });

  it('resumes where a killed process ended, and hears nothing twice after a good end', async () => {
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

  describe('whose database crashes, so that what was not on disk yet is gone', () => {
    const LOSE = sql(
      'test_follower_lose',
      `update event_followers f set pos = o.pos from unnest($1::smallint[], $2::bigint[]) o(shard, pos)
       where f.name = 'test' and f.shard = o.shard`,
    );
    /** What a crash leaves: the cursors of a while ago. */
    const cursors = () => followerCursors(clone.database, 'test');
    const lose = (since: Awaited<ReturnType<typeof cursors>>): Promise<unknown> =>
      clone.database.query(LOSE, [since.map(({ shard }) => shard), since.map(({ pos }) => pos)]);
    /** Has a follower take 0 to 8, and the database forget that it took 5 to 8. */
    const forget = async (room: Awaited<ReturnType<typeof makeRoom>>, follower: EventFollower): Promise<void> => {
      await say(room, 0, 5);
      await follower.idle();
      const before = await cursors();
      await say(room, 5, 9);
      await follower.idle();
      await lose(before);
    };
    const connectionsAreLost = async (): Promise<void> => {
      const lost = new Promise<void>((resolve) => void clone.database.connectionLost.subscribe(resolve));
      await clone.database
        .query(sql('test_follower_cut', 'select pg_terminate_backend(pg_backend_pid())'))
        .catch(() => undefined);
      await lost;
    };

    it('takes events again when connections are lost, though nothing more comes', async () => {
      const room = await makeRoom(services);
      const taken: string[] = [];
      const follower = await follow(taken);
      await forget(room, follower);
      await connectionsAreLost();
      await follower.idle();
      expect(taken).to.deep.equal([...numbers(0, 9), ...numbers(5, 9)]);
      await say(room, 9, 10);
      await follower.idle();
      expect(taken.slice(13)).to.deep.equal(['9']);
    });

    it('takes them again when the next ones come, at the latest, and never says that it has come further', async () => {
      const room = await makeRoom(services);
      const taken: string[] = [];
      const follower = await follow(taken, { timers: { ...systemTimers, sleep: () => Promise.resolve() } });
      await forget(room, follower);
      await say(room, 9, 10);
      await follower.idle();
      expect(new Set(taken.slice(9))).to.deep.equal(new Set(numbers(5, 10)));
      expect(taken.filter((body) => body === '5')).to.have.length(2);
      await follower.close();
      const later: string[] = [];
      await (await follow(later)).idle();
      expect(later).to.deep.equal([]);
    });

    it('takes again what it was taking when connections were lost, since it may be gone though the cursor before it is not', async () => {
      const room = await makeRoom(services);
      const taken: string[] = [];
      let isLost = false;
      const follower = await follow(taken, {
        timers: { ...systemTimers, sleep: () => Promise.resolve() },
        take: async (events) => {
          for (const { event } of events) taken.push(bodyOf(event));
          if (isLost) return;
          isLost = true;
          await connectionsAreLost();
        },
      });
      await say(room, 0, 5);
      await follower.idle();
      expect(taken).to.deep.equal([...numbers(0, 5), ...numbers(0, 5)]);
    });

    it('takes nothing again when it lost connections only', async () => {
      const room = await makeRoom(services);
      const taken: string[] = [];
      const follower = await follow(taken);
      await say(room, 0, 5);
      await follower.idle();
      await connectionsAreLost();
      await follower.idle();
      await say(room, 5, 6);
      await follower.idle();
      expect(taken).to.deep.equal(numbers(0, 6));
    });
  });

  it('tries again what could not be processed', async () => {
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

  describe('with events at which it always fails', () => {
    const ASIDE = sql('test_set_aside', 'select tries, retry_at as at from events_set_aside order by event');
    let clock: ManualClock;
    let metrics: PrometheusMetrics;
    /** Texts that cannot be taken in, for now. */
    let poison: Set<string>;
    let attempts: string[];
    let taken: string[];
    beforeEach(() => {
      clock = new ManualClock();
      metrics = new PrometheusMetrics();
      poison = new Set();
      attempts = [];
      taken = [];
    });
    afterEach(() => metrics.close());

    const take = async (events: readonly FollowedEvent[]): Promise<void> => {
      for (const { event } of events) {
        if (!poison.has(bodyOf(event))) continue;
        if (events.length === 1) attempts.push(bodyOf(event));
        throw new Error('nobody can take this in');
      }
      for (const { event } of events) taken.push(bodyOf(event));
    };
    const followManually = (log: Line[] = []): Promise<EventFollower> =>
      follow(taken, { clock, timers: clock, logger: recordingLogger(log), metrics, take });
    const aside = (): Promise<{ tries: number; at: number | null }[]> => clone.database.query(ASIDE);

    it('follows all others at once, in order, and those when they can be', async () => {
      const room = await makeRoom(services);
      poison = new Set(['3', '4', '11']);
      const follower = await followManually();
      await say(room, 0, 20);
      await follower.idle();
      expect(taken).to.deep.equal(numbers(0, 20).filter((body) => !poison.has(body)));
      expect(await aside()).to.have.length(3);
      poison = new Set(['4']);
      await clock.advance(1_000);
      await follower.idle();
      expect(taken.slice(17)).to.deep.equal(['3', '11']);
      expect(await aside()).to.deep.equal([{ tries: 2, at: clock.now() + 4_000 }]);
    });

    it('tries an event six times with growing pauses, logs it, and tries it again at each start', async () => {
      const room = await makeRoom(services);
      poison = new Set(['1']);
      const log: Line[] = [];
      const follower = await followManually(log);
      await say(room, 0, 3);
      await follower.idle();
      for (const [tries, seconds] of [1, 4, 16, 64, 256].entries()) {
        await clock.advance(seconds * 1_000 - 1);
        await follower.idle();
        expect(attempts).to.have.length(tries + 1);
        await clock.advance(1);
        await follower.idle();
        expect(attempts).to.have.length(tries + 2);
      }
      await clock.advance(10 * 24 * 3600_000);
      await follower.idle();
      expect(attempts).to.have.length(6);
      expect(log.filter(({ level }) => level === 'error')).to.have.length(1);
      expect(await metrics.render()).to.include('tsudoi_follower_given_up_total{follower="test"} 1');
      expect(await aside()).to.deep.equal([{ tries: 6, at: null }]);
      await follower.close();

      const second = await followManually();
      await second.idle();
      expect(attempts).to.have.length(7);
      await second.close();
      poison.clear();
      const third = await followManually();
      await third.idle();
      expect(taken).to.deep.equal(['0', '2', '1']);
      expect(await aside()).to.deep.equal([]);
    });

    it('finds them where it catches up, too, and a killed process forgets none', async () => {
      const room = await makeRoom(services);
      await say(room, 0, 40);
      poison = new Set(['7', '39']);
      const first = await followManually();
      await first.idle();
      expect(taken).to.deep.equal(numbers(0, 40).filter((body) => !poison.has(body)));
      open.pop();
      poison.clear();
      const second = await followManually();
      await second.idle();
      expect(taken.slice(38)).to.deep.equal(['7', '39']);
    });

    it('does not blame events for what is wrong with the database', async () => {
      const room = await makeRoom(services);
      let isFull = true;
      const follower = await follow(taken, {
        timers: { ...systemTimers, sleep: async () => void (isFull = false) },
        take: async (events) => {
          if (isFull) throw Object.assign(new Error('no space left on device'), { code: '53100' });
          await take(events);
        },
      });
      await say(room, 0, 5);
      await follower.idle();
      expect(taken).to.deep.equal(numbers(0, 5));
      expect(await aside()).to.deep.equal([]);
    });

    it('reports its lag', async () => {
      const room = await makeRoom(services);
      const follower = await followManually();
      await follower.idle();
      expect(await metrics.render()).to.include('tsudoi_follower_lag{follower="test"} 0');
      await say(room, 0, 5);
      expect(await metrics.render()).to.include('tsudoi_follower_lag{follower="test"} 5');
      await follower.idle();
      expect(await metrics.render()).to.include('tsudoi_follower_lag{follower="test"} 0');
    });
  });
});
