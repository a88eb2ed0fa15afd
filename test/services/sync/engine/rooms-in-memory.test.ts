import { expect } from 'chai';
import { decodeSyncToken } from '#src/protocol/wire/position.ts';
import { SharingServers } from '#src/services/federation/edus/sharing-servers.ts';
import { SearchScopes } from '#src/services/reading/search/search-scope.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { slidingEncoder } from '#src/services/sync/sliding/sliding-encoder.ts';
import { parseSlidingBody } from '#src/services/sync/sliding/sliding-request.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, BOB, makeRoom, membership, message, SERVER, topic } from '#test/support/event-services.ts';
import type { Json } from '#test/support/in-process-server.ts';
import { collectGarbage, ROOM_CACHE_BYTES, RoomEviction } from '#test/support/room-eviction.ts';
import { until } from '#test/support/until.ts';
import { type SyncBody, syncRequest, type SyncWorld, syncWorld } from './sync-world.ts';

const MINUTES = 600_000;
const ROOMS = 24;
/** What 24 rooms of it take is several times what rooms may take in memory. */
const LARGE = 120_000;
const CAROL = `@carol:${SERVER}`;

const encode = slidingEncoder('v4');

describe('rooms of users who sync', function () {
  this.timeout(120_000);
  let clone: TestDatabase;
  let world: SyncWorld;
  let eviction: RoomEviction;
  const rooms: number[] = [];
  const roomIds: string[] = [];

  before(async () => {
    clone = await cloneDatabase();
    world = await syncWorld(clone.database, { roomCacheBytes: ROOM_CACHE_BYTES });
    eviction = await RoomEviction.prepare(world);
    for (let n = 0; n < ROOMS; n += 1) {
      const room = await makeRoom(world);
      await world.events.send(room, membership(BOB, BOB, 'join'));
      await world.events.send(room, { ...topic(ALICE, ''), type: 'm.room.name', content: { name: `Room ${n}` } });
      for (let part = 0; part < 2; part += 1)
        await world.events.send(room, {
          ...topic(ALICE, ''),
          type: 'org.example.large',
          stateKey: String(part),
          content: { text: 'x'.repeat(LARGE / 2 - 2_000) },
        });
      await world.events.send(room, message(ALICE, `first of ${n}`));
      rooms.push(room.nid);
      roomIds.push(room.roomId);
    }
  });
  after(() => clone.drop());

  /** Evicts all rooms. What is held for a moment yet is gone with the next try. */
  const evictAll = (): Promise<unknown> =>
    until('all rooms are evicted', async () => {
      await eviction.evict(world.rooms);
      return alive().length === 0;
    });
  const alive = (): Room[] => rooms.flatMap((nid) => world.rooms.glance(nid) ?? []);
  const weightOf = (some: readonly Room[]): number => some.reduce((sum, { size }) => sum + size, 0);
  const sync = async (...request: Parameters<typeof syncRequest>): Promise<SyncBody> =>
    JSON.parse((await world.sync.sync(syncRequest(...request))).body) as SyncBody;
  const say = async (n: number, text: string): Promise<void> => {
    await world.events.send((await world.rooms.byNid(rooms[n]!))!, message(ALICE, text));
  };

  /** Looks on while rooms are read a part at a time. @param look is told how many rooms each part has */
  const watch = async (act: () => Promise<unknown>, look: (count: number) => void | Promise<void>): Promise<void> => {
    const { rooms: registry } = world;
    const loadSome = registry.loadSome.bind(registry);
    registry.loadSome = async (...wanted) => {
      const some = await loadSome(...wanted);
      await look(some.looked);
      return some;
    };
    try {
      await act();
    } finally {
      registry.loadSome = loadSome;
    }
  };
  /** The most of the rooms that are held meanwhile. */
  const mostHeld = async (act: () => Promise<unknown>): Promise<number> => {
    let most = 0;
    await watch(act, async () => {
      await collectGarbage(1);
      most = Math.max(most, alive().length);
    });
    return most;
  };

  let pos: string | undefined;
  const slide = async (
    body: object,
    since = pos,
  ): Promise<{ pos: string; rooms: Record<string, object>; lists: Record<string, { count: number }> }> => {
    const answer = await world.slidingSync.sync(
      {
        ...parseSlidingBody(body as never, 'v4'),
        userId: BOB,
        deviceId: 'DEVICE',
        pos: since,
        timeout: 0,
        digest: JSON.stringify(body),
        signal: new AbortController().signal,
      },
      encode,
    );
    return JSON.parse(answer) as never;
  };

  it('are not all in memory at once during an initial sync of all of them', async () => {
    await evictAll();
    let most = 0;
    let since: string | undefined;
    const told = new Set<string>();
    for (let answers = 0; answers < ROOMS; answers += 1) {
      world.interposed.afterPlan = async () => {
        await collectGarbage();
        most = Math.max(most, weightOf(alive()));
      };
      const { next_batch: next, rooms: answer } = await sync(BOB, since);
      const news = Object.keys(answer?.join ?? {});
      if (news.length === 0) break;
      for (const roomId of news) told.add(roomId);
      since = next;
    }
    expect([...told].toSorted()).to.deep.equal(roomIds.toSorted());
    expect(most).to.be.within(1, 1.5 * ROOM_CACHE_BYTES);
  });

  it('are read in parts by each of several who ask for them at once, and what one leaves to later the other does too', async () => {
    await evictAll();
    const before = clone.database.statements();
    const parts = await Promise.all([world.rooms.loadSome(rooms), world.rooms.loadSome(rooms)]);
    // Not a room after the other.
    expect(clone.database.statements() - before).to.be.at.most(24);
    for (const { looked, rooms: some } of parts) {
      expect(looked).to.be.within(1, ROOMS - 1);
      expect([...some.keys()].toSorted()).to.deep.equal(rooms.slice(0, looked).toSorted());
    }
    const found = new Set<number>();
    for (let at = 0; at < ROOMS;) {
      const { looked, rooms: some } = await world.rooms.loadSome(rooms.slice(at));
      for (const nid of some.keys()) found.add(nid);
      at += looked;
    }
    expect([...found]).to.have.members(rooms);
  });

  it('are not kept in memory by those who wait for news, who hear of what comes all the same', async () => {
    const { next_batch: since } = await sync(BOB, undefined);
    const waits = Array.from({ length: 8 }, (_, n) =>
      sync(BOB, since, {}, { deviceId: `DEVICE${n}`, timeout: MINUTES }),
    );
    await evictAll();
    await say(3, 'news');
    for (const answer of await Promise.all(waits)) {
      expect(Object.keys(answer.rooms?.join ?? {})).to.deep.equal([roomIds[3]]);
      const { events } = answer.rooms!.join![roomIds[3]!]!.timeline;
      expect(events.map(({ content }) => (content as { body?: string }).body)).to.deep.equal(['news']);
    }
    expect(alive().map(({ nid }) => nid)).to.deep.equal([rooms[3]]);
  });

  it('are read for the few with news when a client comes back, and the others are not', async () => {
    const { next_batch: since } = await sync(BOB, undefined);
    await say(5, 'while nobody listened');
    await evictAll();
    const before = clone.database.statements();
    const answer = await sync(BOB, since);
    expect(Object.keys(answer.rooms?.join ?? {})).to.deep.equal([roomIds[5]]);
    expect(alive().map(({ nid }) => nid)).to.deep.equal([rooms[5]]);
    expect(clone.database.statements() - before).to.be.at.most(20);
  });

  it('tell whose devices are to be queried, although none of them is in memory', async () => {
    const { next_batch: since } = await sync(BOB, undefined);
    const change = async (to: string): Promise<void> => {
      await world.events.send((await world.rooms.byNid(rooms[7]!))!, membership(CAROL, CAROL, to));
    };
    await change('join');
    await evictAll();
    const joined = (await sync(BOB, since)) as SyncBody & { device_lists?: { changed: string[]; left: string[] } };
    expect(joined.device_lists?.changed).to.deep.equal([CAROL]);
    await change('leave');
    await evictAll();
    const left = (await sync(BOB, joined.next_batch)) as typeof joined;
    expect(left.device_lists?.left).to.deep.equal([CAROL]);
  });

  it('are read once to tell whose devices are to be queried, however many of them have news', async () => {
    const { next_batch: since } = await sync(BOB, undefined);
    for (let n = 0; n < ROOMS; n += 1) await say(n, `news of ${n}`);
    const user = await world.syncUsers.open(BOB);
    user.hold();
    try {
      await evictAll();
      const { vector } = decodeSyncToken(since)!;
      let read = 0;
      await watch(
        () => world.deviceListDeltas.companions(user, vector),
        async (count) => {
          read += count;
          // Who looked at them a second time would read most of them again.
          if (read >= ROOMS) await collectGarbage(1);
        },
      );
      expect(read).to.equal(ROOMS);
    } finally {
      user.release();
    }
  });

  it('are not all held at once by the count of a badge, which counts them all', async () => {
    await evictAll();
    let count: number | undefined;
    const most = await mostHeld(async () => (count = await world.badges.of(BOB)));
    expect(count).to.be.at.least(ROOMS);
    expect(most).to.be.within(1, ROOMS / 4);
  });

  it('are not all held at once by a search in them, which looks for the rooms that they replace', async () => {
    await evictAll();
    const scopes = new SearchScopes({ ...world, database: clone.database });
    let found: readonly { readonly room: number }[] = [];
    const most = await mostHeld(async () => (found = await scopes.of(BOB, { rooms: roomIds })));
    expect(found.map(({ room }) => room).toSorted((a, b) => a - b)).to.deep.equal(rooms);
    expect(most).to.be.within(1, ROOMS / 4);
  });

  it('are not all held at once to find the servers that share them', async () => {
    await evictAll();
    const servers = new SharingServers(clone.database, world.rooms);
    const most = await mostHeld(() => servers.of([BOB]));
    expect(most).to.be.within(1, ROOMS / 4);
  });

  it('are told all when the user has left them, or is invited to them, a few at a time', async () => {
    const EVE = `@eve:${SERVER}`;
    const DAVE = `@dave:${SERVER}`;
    for (const nid of rooms) {
      const room = (await world.rooms.byNid(nid))!;
      await world.events.send(room, membership(ALICE, EVE, 'invite'));
      await world.events.send(room, membership(EVE, EVE, 'join'));
      await world.events.send(room, membership(EVE, EVE, 'leave'));
      await world.events.send(room, membership(ALICE, DAVE, 'invite'));
    }
    const sectionRoomsOf = async (userId: string, section: 'leave' | 'invite'): Promise<string[]> => {
      const told = new Set<string>();
      let since: string | undefined;
      for (let answers = 0; answers < ROOMS; answers += 1) {
        const body: Json = await sync(userId, since, { include_leave: section === 'leave' });
        const news = Object.keys(body['rooms']?.[section] ?? {});
        if (news.length === 0) break;
        for (const roomId of news) told.add(roomId);
        since = body['next_batch'];
      }
      return [...told].toSorted();
    };
    const { rooms: registry } = world;
    const loadSome = registry.loadSome.bind(registry);
    // As if no more had a place in memory.
    registry.loadSome = (nids, share) => loadSome(nids.slice(0, 5), share);
    try {
      expect(await sectionRoomsOf(EVE, 'leave')).to.deep.equal(roomIds.toSorted());
      expect(await sectionRoomsOf(DAVE, 'invite')).to.deep.equal(roomIds.toSorted());
    } finally {
      registry.loadSome = loadSome;
    }
  });

  it('are listed by sliding sync with names and order as if they were in memory, and quiet ones are not read again', async () => {
    const body = {
      conn_id: 'lists',
      lists: {
        all: { ranges: [[0, ROOMS - 1]], timeline_limit: 1, required_state: {} },
        some: { ranges: [[0, 3]], timeline_limit: 1, required_state: {}, filters: { room_name_like: 'room 1' } },
      },
    };
    for (let n = 0; n < ROOMS; n += 1) await say(n, `last of ${n}`);
    await evictAll();
    const told: string[] = [];
    for (let answers = 0; answers < ROOMS && told.length < ROOMS; answers += 1) {
      const answer = await slide(body);
      pos = answer.pos;
      told.push(...Object.keys(answer.rooms));
      expect(answer.lists['all']?.count).to.equal(ROOMS);
      expect(answer.lists['some']?.count).to.equal(11);
    }
    expect(told.toSorted()).to.deep.equal(roomIds.toSorted());
    await evictAll();
    const before = clone.database.statements();
    const quiet = await slide(body);
    expect(quiet.rooms).to.deep.equal({});
    expect(clone.database.statements() - before).to.equal(0);
    expect(alive()).to.have.length(0);
    await say(9, 'news');
    const news = await slide(body, quiet.pos);
    expect(Object.keys(news.rooms)).to.deep.equal([roomIds[9]]);
    pos = news.pos;
  });

  it('with many members are sent completely without lazy-loading, and read in parts', async () => {
    const MEMBERS = 2_600;
    const reader = `@reader:${SERVER}`;
    const names = Array.from({ length: MEMBERS }, (_, n) => `@member${n}:${SERVER}`);
    await makeRoom(world, reader, '12', () => names.map((name) => membership(name, name, 'join')));
    // A process that has none of the members' events in memory yet.
    world = await syncWorld(clone.database);
    const lazy = await sync(reader, undefined, { state: { lazy_load_members: true } }, { deviceId: 'LAZY' });
    const before = clone.database.statements();
    const { rooms: answer } = await sync(reader, undefined);
    const statements = clone.database.statements() - before;
    const [room] = Object.values(answer?.join ?? {});
    const told = [...(room?.state?.events ?? []), ...(room?.timeline.events ?? [])];
    const members = told.filter(({ type }) => type === 'm.room.member').map(({ state_key: name }) => name);
    expect(new Set(members)).to.deep.equal(new Set([reader, ...names]));
    expect(members).to.have.length(MEMBERS + 1);
    expect(Object.keys(lazy.rooms?.join ?? {})).to.have.length(1);
    expect(statements).to.be.at.least(MEMBERS / 500);
  });
});
