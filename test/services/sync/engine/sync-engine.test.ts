import { expect } from 'chai';
import fc from 'fast-check';
import pg from 'pg';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, BOB, makeRoom, membership, message, SERVER, topic } from '#test/support/event-services.ts';
import { ROOM_CACHE_BYTES, RoomEviction } from '#test/support/room-eviction.ts';
import { ModelClient } from './model-client.ts';
import { type SyncBody, syncRequest, type SyncWorld, syncWorld } from './sync-world.ts';

const user = (n: number): string => `@user${n}:${SERVER}`;
/** Whoever waits as long as this was not woken: the test ends before. */
const NEVER_MS = 3_600_000;
/** A process whose rooms can be evicted. */
const SMALL = { roomCacheBytes: ROOM_CACHE_BYTES };
const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });

describe('the sync engine', function () {
  this.timeout(90_000);
  let clone: TestDatabase;
  let admin: pg.Client;
  let world: SyncWorld;
  let eviction: RoomEviction;

  before(async () => {
    clone = await cloneDatabase();
    admin = new pg.Client({ connectionString: clone.url });
    await admin.connect();
    world = await syncWorld(clone.database, SMALL);
    eviction = await RoomEviction.prepare(world);
  });
  after(async () => {
    await admin.end();
    await clone.drop();
  });

  const body = async (...request: Parameters<typeof syncRequest>): Promise<SyncBody> =>
    JSON.parse((await world.sync.sync(syncRequest(...request))).body) as SyncBody;

  /** Ids of a room's events in order, and of its state, as the database has them. */
  const truth = async (room: Room): Promise<{ order: string[]; state: Map<string, string> }> => {
    const { rows } = await admin.query<{ nid: string }>('select nid from events where room = $1 order by nid', [
      room.nid,
    ]);
    const events = await world.loader.load(rows.map((row) => ({ room, nid: Number(row.nid) })));
    const order: string[] = [];
    const state = new Map<string, string>();
    for (const { nid } of rows) {
      const event = events.get(Number(nid))!;
      order.push(event.eventId);
      if (event.stateKey !== undefined) state.set(`${event.type}\0${event.stateKey}`, event.eventId);
    }
    return { order, state };
  };

  const USERS = 5;
  const act = fc.record({
    what: fc.constantFrom(
      'message',
      'message',
      'message',
      'topic',
      'name',
      'profile',
      'join',
      'join',
      'leave',
      'kick',
      'ban',
      'unban',
      'invite',
      'redact',
    ),
    actor: fc.nat(USERS - 1),
    target: fc.nat(USERS - 1),
    room: fc.nat(2),
    repeat: fc.constantFrom(1, 1, 1, 1, 2, 2, 12, 40, 150),
    wait: fc.boolean(),
  });
  const look = fc.record({
    client: fc.nat(7),
    limit: fc.constantFrom(1, 2, 5, 10, 100),
    fullState: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
    timeout: fc.constantFrom(0, 0, 5),
    wait: fc.boolean(),
  });
  const steps = fc.array(
    fc.record({
      step: fc.oneof(
        { weight: 30, arbitrary: act },
        { weight: 20, arbitrary: look },
        { weight: 1, arbitrary: fc.constantFrom('restart' as const, 'evict' as const) },
      ),
      turns: fc.constantFrom(0, 0, 1, 3, 20),
    }),
    { minLength: 5, maxLength: 120 },
  );

  const perform = async (
    rooms: readonly string[],
    name: (n: number) => string,
    { what, actor, target, room: n, repeat }: typeof act extends fc.Arbitrary<infer A> ? A : never,
  ): Promise<void> => {
    const room = (await world.rooms.byId(rooms[n]!))!;
    const [by, of] = [name(actor), name(target)];
    const { events } = world;
    for (let i = 0; i < repeat; i++) {
      try {
        if (what === 'message') await events.send(room, message(by, `${i}`));
        else if (what === 'topic') await events.send(room, topic(by, `${i} ${target}`));
        else if (what === 'name')
          await events.send(room, { ...topic(by, ''), type: 'm.room.name', content: { name: `${i % 3}` } });
        else if (what === 'profile')
          await events.send(room, membership(by, by, 'join', { displayname: `${i} ${target}` }));
        else if (what === 'redact') {
          const some = room.ring.events.at(-1 - (target % 3));
          if (some !== undefined) await events.redact(room, by, some.eventId, {});
        } else if (what === 'join' || what === 'leave') await events.send(room, membership(by, by, what));
        else await events.send(room, membership(name(0), of, what === 'kick' || what === 'unban' ? 'leave' : what));
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error;
      }
      if (what !== 'message' && what !== 'topic' && what !== 'profile') return;
    }
  };

  let runs = 0;

  it('leaves every client with the room as it is, whatever happened and whenever it looked', async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (all) => {
        const run = (runs += 1);
        const name = (n: number): string => `@user${n}.${run}:${SERVER}`;
        const rooms = [
          (await makeRoom(world, name(0))).roomId,
          (await makeRoom(world, name(0), '10')).roomId,
          (await makeRoom(world, name(0))).roomId,
        ];
        const clients = Array.from(
          { length: 8 },
          (_, n) =>
            new ModelClient(() => world.sync, {
              userId: name(n % 4),
              deviceId: `D${n}`,
              stateAfter: n >= 4,
              lazy: n === 2 || n === 5 || n === 7,
              includeLeave: n === 1 || n === 6,
            }),
        );
        const running: Promise<void>[] = [];
        const turns = new Map<ModelClient, Promise<void>>();
        for (const { step, turns: pause } of all) {
          if (step === 'restart') {
            await Promise.all(running);
            world = await syncWorld(clone.database, SMALL);
            continue;
          }
          if (step === 'evict') {
            await eviction.evict(world.rooms);
            continue;
          }
          let work: Promise<void>;
          if ('client' in step) {
            const client = clients[step.client]!;
            work = (turns.get(client) ?? Promise.resolve()).then(() => client.step(step));
            turns.set(client, work);
          } else work = perform(rooms, name, step);
          running.push(work);
          if (step.wait) await work;
          for (let i = 0; i < pause; i++) await turn();
        }
        await Promise.all(running);
        for (const client of clients) {
          client.isCaughtUp = false;
          for (let i = 0; i < 20 && !client.isCaughtUp; i++) await client.step({ limit: 7 });
          expect(client.isCaughtUp).to.equal(true);
        }
        for (const roomId of rooms) {
          const room = (await world.rooms.byId(roomId))!;
          const { order, state } = await truth(room);
          for (const client of clients) client.compare(room, order, state);
        }
      }),
      { numRuns: Number(process.env['RUNS'] ?? 60), interruptAfterTimeLimit: 70_000 },
    );
  });

  it('sends a leave once, and nothing of the room afterwards', async () => {
    const room = await makeRoom(world);
    await world.events.send(room, membership(BOB, BOB, 'join'));
    const first = await body(BOB, undefined);
    await world.events.send(room, message(ALICE, 'before'));
    const leave = await world.events.send(room, membership(BOB, BOB, 'leave'));
    await world.events.send(room, message(ALICE, 'after'));
    const second = await body(BOB, first.next_batch);
    expect(second.rooms?.leave?.[room.roomId]?.timeline.events.map((event) => event.event_id).at(-1)).to.equal(
      leave.eventId,
    );
    expect(second.rooms?.leave?.[room.roomId]?.timeline.events).to.have.length(2);
    expect(second.rooms?.join?.[room.roomId]).to.equal(undefined);
    await world.events.send(room, message(ALICE, 'long after'));
    const third = await body(BOB, second.next_batch);
    expect(third.rooms).to.equal(undefined);
    expect((await body(BOB, undefined)).rooms?.leave?.[room.roomId]).to.equal(undefined);
    const all = await body(BOB, undefined, { include_leave: true });
    expect(all.rooms?.leave?.[room.roomId]?.timeline.events.at(-1)?.event_id).to.equal(leave.eventId);
  });

  it('sends a user who rejoined the missed events, each once', async () => {
    const room = await makeRoom(world);
    const dave = user(43);
    await world.events.send(room, membership(dave, dave, 'join'));
    const known = (await body(dave, undefined)).rooms!.join![room.roomId]!.timeline.events.map(
      (event) => event.event_id,
    );
    const { next_batch: since } = await body(dave, undefined);
    await world.events.send(room, membership(dave, dave, 'leave'));
    await world.events.send(room, message(ALICE, 'in between'));
    const back = await world.events.send(room, membership(dave, dave, 'join'));
    const section = (await body(dave, since)).rooms!.join![room.roomId]!;
    const ids = section.timeline.events.map((event) => event.event_id);
    expect(ids).to.have.length(3);
    expect(ids.at(-1)).to.equal(back.eventId);
    expect(ids.filter((id) => known.includes(id))).to.deep.equal([]);
    expect(section.timeline.limited).to.equal(false);
    expect(section.state?.events.map((event) => event.type)).to.include('m.room.create');
  });

  it('sends member events of senders to lazy-loading clients, also after a restart', async () => {
    const room = await makeRoom(world);
    await world.events.send(room, message(ALICE, 'x'));
    world = await syncWorld(clone.database);
    const lazy = { state: { lazy_load_members: true }, timeline: { limit: 1 } };
    for (const stateAfter of [undefined, 'state_after'] as const) {
      const section = (await body(ALICE, undefined, lazy, { stateAfter })).rooms!.join![room.roomId]!;
      const told = (section.state ?? section.state_after)?.events ?? [];
      expect(told.filter((event) => event.type === 'm.room.member').map((event) => event.state_key)).to.deep.equal([
        ALICE,
      ]);
    }
  });

  it('sends member events of a lost response again to a lazy-loading client, until they are acknowledged', async () => {
    const room = await makeRoom(world);
    await world.events.send(room, membership(BOB, BOB, 'join'));
    // In a room without a name, those after whom it is called come as well.
    await world.events.send(room, { type: 'm.room.name', sender: ALICE, stateKey: '', content: { name: '部屋' } });
    for (let n = 0; n < 3; n++) await world.events.send(room, message(ALICE, `${n}`));
    const lazy = { state: { lazy_load_members: true }, timeline: { limit: 1 } };
    const { next_batch: since } = await body(ALICE, undefined, lazy);
    await world.events.send(room, message(BOB, 'x'));
    const members = (answer: SyncBody): unknown[] =>
      answer.rooms?.join?.[room.roomId]?.state?.events.map((event) => event.state_key) ?? [];
    const told = await body(ALICE, since, lazy);
    expect(members(told)).to.deep.equal([BOB]);
    expect(members(await body(ALICE, since, lazy))).to.deep.equal([BOB]);
    await world.events.send(room, message(BOB, 'y'));
    expect(members(await body(ALICE, since, { ...lazy, timeline: { limit: 9 } }))).to.deep.equal([BOB]);
    await world.events.send(room, message(ALICE, 'z'));
    // What comes in place of a lost answer may be shorter.
    const short = await body(ALICE, since, lazy);
    expect(members(short)).to.deep.equal([]);
    await world.events.send(room, message(BOB, 'z'));
    expect(members(await body(ALICE, short.next_batch, lazy))).to.deep.equal([BOB]);
    const next = await body(ALICE, told.next_batch, lazy);
    expect([members(next), next.rooms?.join?.[room.roomId]?.timeline.events.length]).to.deep.equal([[], 1]);
  });

  it('sends a lazy-loading client all member events again with full_state', async () => {
    const room = await makeRoom(world);
    const lazy = { state: { lazy_load_members: true }, timeline: { limit: 1 } };
    const { next_batch: since } = await body(ALICE, undefined, lazy);
    const full = (await body(ALICE, since, lazy, { fullState: true })).rooms!.join![room.roomId]!;
    const types = full.state?.events.map((event) => event.type);
    expect(types).to.include.members(['m.room.create', 'm.room.member', 'm.room.power_levels']);
    expect(full.timeline.events).to.deep.equal([]);
  });

  describe('waiting', () => {
    it('is ended by what happens, however closely it follows the request', async () => {
      const room = await makeRoom(world);
      const readers = Array.from({ length: 10 }, (_, n) => user(n + 20));
      for (const reader of readers) await world.events.send(room, membership(reader, reader, 'join'));
      const since = new Map<string, string>();
      for (const reader of readers) since.set(reader, (await body(reader, undefined)).next_batch);
      const wait = async (reader: string, id: Promise<string>): Promise<void> => {
        for (let found = false; !found;) {
          const news = await body(reader, since.get(reader), { timeline: { limit: 100 } }, { timeout: NEVER_MS });
          since.set(reader, news.next_batch);
          const ids = news.rooms?.join?.[room.roomId]?.timeline.events.map((event) => event.event_id) ?? [];
          found = ids.includes(await id);
        }
      };
      for (let round = 0; round < 300; round++) {
        const turns = round % 12;
        let tell: (id: string) => void = () => {};
        const id = new Promise<string>((resolve) => {
          tell = resolve;
        });
        const waiting = readers.map((reader) => wait(reader, id));
        for (let i = 0; i < turns; i++) await (round % 2 === 0 ? turn() : Promise.resolve());
        tell((await world.events.send(room, message(ALICE, `${round}`))).eventId);
        await Promise.all(waiting);
      }
    });

    it('ends with an invite, a leave, account data, a receipt and typing', async () => {
      const room = await makeRoom(world);
      const carol = user(40);
      const news = async (cause: () => unknown): Promise<string> => {
        const { next_batch: since } = await body(carol, undefined);
        const waiting = world.sync.sync(syncRequest(carol, since, {}, { timeout: NEVER_MS }));
        for (let i = 0; i < 30; i++) await turn();
        await cause();
        const { body: text } = await waiting;
        return text;
      };
      expect(await news(() => world.events.send(room, membership(ALICE, carol, 'invite')))).to.contain('"invite"');
      expect(await news(() => world.events.send(room, membership(carol, carol, 'join')))).to.contain('"join"');
      expect(await news(() => world.accountData.set(carol, 0, 'org.example', { a: 1 }))).to.contain('org.example');
      expect(await news(() => world.accountData.set(carol, room.nid, 'org.other', { a: 1 }))).to.contain('org.other');
      const last = room.ring.newest!.eventId;
      expect(await news(() => world.receipts.receive(room, ALICE, 'm.read', undefined, last))).to.contain('m.receipt');
      expect(await news(() => world.typing.set(ALICE, room.roomId, true))).to.contain('m.typing');
      expect(await news(() => world.typing.set(ALICE, room.roomId, false))).to.contain('"user_ids":[]');
      expect(await news(() => world.events.send(room, membership(ALICE, carol, 'leave')))).to.contain('"leave"');
    });

    it('ends after its timeout with an empty response and a position that continues', async () => {
      const room = await makeRoom(world);
      const { next_batch: since } = await body(ALICE, undefined);
      const empty = await body(ALICE, since, {}, { timeout: 30 });
      expect(empty.rooms).to.equal(undefined);
      const said = await world.events.send(room, message(ALICE, 'x'));
      const news = await body(ALICE, empty.next_batch);
      expect(news.rooms?.join?.[room.roomId]?.timeline.events.map((event) => event.event_id)).to.deep.equal([
        said.eventId,
      ]);
    });

    it('ends at once for a client that is gone', async () => {
      const { next_batch: since } = await body(user(41), undefined);
      const gone = new AbortController();
      const waiting = world.sync.sync(syncRequest(user(41), since, {}, { timeout: 30_000, signal: gone.signal }));
      await turn();
      gone.abort();
      expect((await waiting).isEmpty).to.equal(true);
    });
  });

  it('asks the database nothing for a client that keeps up', async () => {
    const room = await makeRoom(world);
    const carol = user(42);
    await world.events.send(room, membership(carol, carol, 'join'));
    let { next_batch: since } = await body(carol, undefined);
    const lazy = { state: { lazy_load_members: true } };
    for (let i = 0; i < 3; i++) since = (await body(carol, since, lazy)).next_batch;
    await world.events.send(room, message(ALICE, 'warm'));
    since = (await body(carol, since, lazy)).next_batch;
    let asked = 0;
    for (let i = 0; i < 30; i++) {
      await world.events.send(room, i % 5 === 4 ? topic(ALICE, `${i}`) : message(ALICE, `${i}`));
      const before = clone.database.statements();
      const news = await body(carol, since, lazy);
      asked += clone.database.statements() - before;
      since = news.next_batch;
      expect(news.rooms?.join?.[room.roomId]?.timeline.events).to.have.length(1);
    }
    expect(asked).to.equal(0);
  });
});
