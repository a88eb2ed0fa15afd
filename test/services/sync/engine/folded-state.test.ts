import { expect } from 'chai';
import fc from 'fast-check';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { EventDraft } from '#src/services/events/building/event-draft.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, BOB, makeRoom, membership, message, SERVER } from '#test/support/event-services.ts';
import {
  type ClientEvent,
  type RoomBody,
  type SyncBody,
  syncRequest,
  type SyncWorld,
  syncWorld,
} from './sync-world.ts';

const CAROL = `@carol:${SERVER}`;
const DAVE = `@dave:${SERVER}`;
const OTHERS = [CAROL, DAVE] as const;
const VISIBILITIES = ['shared', 'invited', 'joined', 'world_readable'] as const;

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('say' as const), count: fc.constantFrom(1, 1, 3, 15) }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('name' as const), by: fc.nat(2) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('visibility' as const), which: fc.nat(3) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('member' as const),
      who: fc.nat(1),
      is: fc.constantFrom('join', 'leave'),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('bob' as const),
      is: fc.constantFrom('join', 'join', 'leave', 'kick', 'invite', 'ban', 'unban'),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('sync' as const),
      client: fc.nat(),
      limit: fc.constantFrom(0, 1, 2, 5, 50),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('full' as const), client: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** What a client asks for, beside the limit. */
const CLIENTS = [
  {},
  { lazy: true },
  { stateAfter: true },
  { stateAfter: true, lazy: true },
  { includeLeave: true },
  { timeline: { not_senders: [ALICE] } },
  { timeline: { not_types: ['m.room.member'] }, lazy: true },
  { timeline: { types: ['m.room.message'] } },
] as const satisfies readonly {
  readonly lazy?: boolean;
  readonly stateAfter?: boolean;
  readonly includeLeave?: boolean;
  readonly timeline?: object;
}[];

type State = ReadonlyMap<string, string>;

const keyOf = (event: ClientEvent): string => `${event.type} ${event.state_key}`;
const stateOf = (room: Room): State =>
  new Map(
    [
      ...[...room.state.values()].map(({ event }): [string, number] => [`${event.type} ${event.stateKey}`, event.nid]),
      ...[...room.members.values()].map(({ userId, event }): [string, number] => [`m.room.member ${userId}`, event]),
    ].map(([key, nid]) => [key, `${nid}`]),
  );

describe('the state that a client adds up', function () {
  this.timeout(120_000);
  let clone: TestDatabase;
  before(async () => (clone = await cloneDatabase()));
  after(() => clone.drop());

  class Client {
    readonly wants: (typeof CLIENTS)[number] & {
      readonly lazy?: boolean;
      readonly stateAfter?: boolean;
      readonly includeLeave?: boolean;
      readonly timeline?: object;
    };
    readonly #deviceId: string;
    since: string | undefined;
    known: Map<string, string> | undefined;
    /** The user was in the room after this client's last sync. */
    hasStayed = false;

    constructor(index: number) {
      this.wants = CLIENTS[index]!;
      this.#deviceId = `DEVICE${index}`;
    }

    async sync(world: SyncWorld, limit: number, fullState: boolean): Promise<SyncBody> {
      const { lazy = false, stateAfter = false, includeLeave = false, timeline = {} } = this.wants;
      const filter = {
        timeline: { limit, ...timeline },
        state: { lazy_load_members: lazy },
        include_leave: includeLeave,
      };
      const more = {
        deviceId: this.#deviceId,
        fullState,
        stateAfter: stateAfter ? ('state_after' as const) : undefined,
      };
      const body = JSON.parse((await world.sync.sync(syncRequest(BOB, this.since, filter, more))).body) as SyncBody;
      this.since = body.next_batch;
      return body;
    }

    /** Believes what the specification says: state up to the timeline's start and the timeline, or state up to its end. */
    fold(body: RoomBody, isNew: boolean): void {
      const known = isNew || this.known === undefined ? new Map<string, string>() : this.known;
      const told =
        this.wants.stateAfter === true ? body.state_after!.events : [...body.state!.events, ...body.timeline.events];
      for (const event of told) if (event.state_key !== undefined) known.set(keyOf(event), event.event_id);
      this.known = known;
    }
  }

  class Run {
    world!: SyncWorld;
    roomId = '';
    readonly clients = CLIENTS.map((_, index) => new Client(index));
    /** The state when Bob was in the room last. */
    left: State | undefined;

    async begin(): Promise<this> {
      this.world = await syncWorld(clone.database);
      this.roomId = (await makeRoom(this.world)).roomId;
      return this;
    }

    async room(): Promise<Room> {
      return (await this.world.rooms.byId(this.roomId))!;
    }

    async send(draft: EventDraft): Promise<void> {
      const room = await this.room();
      const wasJoined = room.isJoined(BOB);
      try {
        await this.world.events.send(room, draft);
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error;
        return;
      }
      if (wasJoined && !room.isJoined(BOB)) this.left = stateOf(room);
      if (room.isJoined(BOB)) for (const client of this.clients) client.hasStayed = true;
    }

    async take(one: Step): Promise<void> {
      if (one.kind === 'restart') this.world = await syncWorld(clone.database);
      else if (one.kind === 'say') for (let n = 0; n < one.count; n++) await this.send(message(ALICE, `${n}`));
      else if (one.kind === 'name') {
        const sender = [ALICE, ...OTHERS][one.by]!;
        await this.send({ type: 'm.room.name', sender, stateKey: '', content: { name: `by ${sender}` } });
      } else if (one.kind === 'visibility') {
        const content = { history_visibility: VISIBILITIES[one.which]! };
        await this.send({ type: 'm.room.history_visibility', sender: ALICE, stateKey: '', content });
      } else if (one.kind === 'member') await this.send(membership(OTHERS[one.who]!, OTHERS[one.who]!, one.is));
      else if (one.kind === 'bob') {
        if (one.is === 'join' || one.is === 'leave') await this.send(membership(BOB, BOB, one.is));
        else await this.send(membership(ALICE, BOB, one.is === 'kick' || one.is === 'unban' ? 'leave' : one.is));
      } else {
        const client = this.clients[one.client % this.clients.length]!;
        await this.look(client, one.kind === 'sync' ? one.limit : 5, one.kind === 'full');
      }
    }

    async look(client: Client, limit: number, isFull: boolean): Promise<void> {
      const room = await this.room();
      const isInitial = client.since === undefined;
      const before = client.known;
      const body = await client.sync(this.world, limit, isFull);
      const joined = body.rooms?.join?.[this.roomId];
      const left = body.rooms?.leave?.[this.roomId];
      const { hasStayed } = client;
      client.hasStayed = room.isJoined(BOB);
      if (joined !== undefined) {
        client.fold(joined, isFull);
        await this.compare(client, stateOf(room), room);
      } else if (room.isJoined(BOB)) await this.compare(client, stateOf(room), room);
      else if (left === undefined) {
        if (body.rooms?.invite?.[this.roomId] !== undefined) client.known = undefined;
        else if (before !== undefined) throw new Error('the client was not told that the user left');
      } else {
        // Only who has been in the room knows a state of it.
        if (before !== undefined || (hasStayed && !isInitial)) {
          client.fold(left, isFull);
          await this.compare(client, this.left!, room);
        }
        client.known = undefined;
      }
    }

    async compare({ known, wants }: Client, state: State, room: Room): Promise<void> {
      const ids = new Map<string, string>();
      for (const [key, nid] of state) ids.set(key, (await this.world.loader.one(room, Number(nid)))!.eventId);
      const right = [...ids].filter(
        ([key]) => wants.lazy !== true || !key.startsWith('m.room.member') || known?.has(key),
      );
      const sorted = (entries: Iterable<readonly [string, string]>): readonly (readonly [string, string])[] =>
        [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
      expect(sorted(known ?? []), JSON.stringify(wants)).to.deep.equal(sorted(right));
    }
  }

  it('is that of the room, whatever history visibility and filters keep out of its timeline', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 60 }), async (steps) => {
        const run = await new Run().begin();
        for (const one of steps) await run.take(one);
        for (const client of run.clients) await run.look(client, 5, false);
      }),
      { numRuns: 60 },
    );
  });
});
