import fc from 'fast-check';
import type { Room } from '#src/services/room-model/room/room.ts';
import { deleteExpiredSticky } from '#src/storage/events/sticky-events.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, BOB, makeRoom, membership, message, SERVER } from '#test/support/event-services.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { type SyncBody, syncRequest, syncWorld, type SyncWorld } from '#test/services/sync/engine/sync-world.ts';

const READERS = [`@carol:${SERVER}`, `@dave:${SERVER}`] as const;
const SECOND = 1_000;

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('stick' as const), room: fc.nat(1), seconds: fc.nat(40) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('say' as const), room: fc.nat(1), count: fc.nat(12) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('wait' as const), seconds: fc.nat(15) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('redact' as const), which: fc.nat(30) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('move' as const), room: fc.nat(1), reader: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clean' as const) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('sync' as const),
      reader: fc.nat(1),
      limit: fc.nat(6),
      hides: fc.boolean(),
      isFull: fc.nat(7).map((n) => n === 0),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

interface Sticky {
  readonly id: string;
  readonly room: number;
  readonly until: number;
  isRedacted: boolean;
}

/** What one client was told. */
interface Client {
  readonly userId: string;
  since: string | undefined;
  /** By room: what it saw while it was in it. */
  readonly seen: Map<number, Set<string>>;
  /** Rooms that it came to since its last sync. */
  readonly fresh: Set<number>;
}

describe('sticky events, whatever happens', function () {
  this.timeout(120_000);
  let clone: TestDatabase;
  before(async () => (clone = await cloneDatabase()));
  after(() => clone.drop());

  class Run {
    readonly clock = new ManualClock(Date.now());
    readonly clients: Client[] = READERS.map((userId) => ({
      userId,
      since: undefined,
      seen: new Map(),
      fresh: new Set(),
    }));
    readonly stickies: Sticky[] = [];
    world!: SyncWorld;
    roomIds: string[] = [];

    async begin(): Promise<this> {
      this.world = await syncWorld(clone.database, { clock: this.clock });
      for (let n = 0; n < 2; n++) {
        const room = await makeRoom(this.world);
        await this.world.events.send(room, membership(BOB, BOB, 'join'));
        this.roomIds.push(room.roomId);
      }
      return this;
    }

    async room(index: number): Promise<Room> {
      return (await this.world.rooms.byId(this.roomIds[index]!))!;
    }

    async perform(one: Step): Promise<void> {
      const { events } = this.world;
      switch (one.kind) {
        case 'stick': {
          const draft = { ...message(ALICE, 'sticky'), stickyDurationMs: one.seconds * SECOND };
          const { eventId: id } = await events.send(await this.room(one.room), draft);
          const until = this.clock.now() + one.seconds * SECOND;
          this.stickies.push({ id, room: one.room, until, isRedacted: false });
          return;
        }
        case 'say':
          for (let n = 0; n < one.count; n++) await events.send(await this.room(one.room), message(BOB, `${n}`));
          return;
        case 'wait':
          return this.clock.advance(one.seconds * SECOND);
        case 'redact': {
          const sticky = this.stickies[one.which];
          if (sticky === undefined) return;
          await events.redact(await this.room(sticky.room), ALICE, sticky.id, {});
          sticky.isRedacted = true;
          return;
        }
        case 'move': {
          const room = await this.room(one.room);
          const client = this.clients[one.reader]!;
          const joins = !room.isJoined(client.userId);
          await events.send(room, membership(client.userId, client.userId, joins ? 'join' : 'leave'));
          if (joins) client.fresh.add(one.room);
          return;
        }
        case 'restart':
          this.world = await syncWorld(clone.database, { clock: this.clock });
          return;
        case 'clean':
          await deleteExpiredSticky(clone.database, this.clock.now(), 100);
          return;
        case 'sync':
          return this.sync(this.clients[one.reader]!, one);
      }
    }

    async sync(client: Client, { limit, hides, isFull }: Extract<Step, { kind: 'sync' }>): Promise<void> {
      const { userId } = client;
      const timeline = { limit, ...(hides ? { not_senders: [ALICE] } : {}) };
      const request = syncRequest(userId, client.since, { timeline }, { fullState: isFull });
      const body = JSON.parse((await this.world.sync.sync(request)).body) as SyncBody;
      const now = this.clock.now();
      for (const [index, roomId] of this.roomIds.entries()) {
        const told = body.rooms?.join?.[roomId];
        const room = await this.room(index);
        if (!room.isJoined(userId)) {
          if (told !== undefined) throw new Error(`${roomId} is told to ${userId}, who is not in it`);
          continue;
        }
        if (client.fresh.has(index) || !client.seen.has(index)) client.seen.set(index, new Set());
        const seen = client.seen.get(index)!;
        const live = new Map(
          this.stickies
            .filter((one) => one.room === index && !one.isRedacted && one.until > now)
            .map((one) => [one.id, one]),
        );
        const section = told?.msc4354_sticky?.events ?? [];
        for (const event of [...section, ...(told?.timeline.events ?? [])]) {
          const sticky = live.get(event.event_id);
          const ttl = event.unsigned?.msc4354_sticky_duration_ttl_ms;
          if (ttl !== (sticky === undefined ? undefined : sticky.until - now))
            throw new Error(`${event.event_id} is sticky for ${ttl} more ms, not ${sticky?.until} - ${now}`);
          if (sticky === undefined) continue;
          if (seen.has(event.event_id)) throw new Error(`${event.event_id} came twice to ${userId}`);
          seen.add(event.event_id);
        }
        if (section.some((event) => !live.has(event.event_id))) throw new Error('something expired is told as sticky');
        for (const id of live.keys()) if (!seen.has(id)) throw new Error(`${id} never came to ${userId}`);
      }
      client.fresh.clear();
      client.since = body.next_batch;
    }
  }

  it('come to every client once, however wide the gap, and no longer than they stick', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }), async (steps) => {
        const run = await new Run().begin();
        for (const one of steps) await run.perform(one);
        for (const client of run.clients) {
          const last = { kind: 'sync', reader: 0, limit: 1, hides: false, isFull: false } as const;
          await run.sync(client, last);
        }
      }),
      { numRuns: 25, endOnFailure: true },
    );
  });
});
