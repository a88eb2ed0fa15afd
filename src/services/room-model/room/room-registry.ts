import { LRUCache } from 'lru-cache';
import { CountedCache } from '#src/kernel/counted-cache.ts';
import { isRoomId } from '#src/protocol/identifiers/identifiers.ts';
import { atMost } from '#src/kernel/at-most.ts';
import { OnceByKey } from '#src/kernel/once.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventRoom, StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { EntryList } from '#src/services/room-model/state/entry-list.ts';
import { StateChain } from '#src/services/room-model/state/state-chain.ts';
import type { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { Database } from '#src/storage/database.ts';
import {
  membersOfRooms,
  newestEvents,
  type RoomRecord,
  roomById,
  roomsByNid,
} from '#src/storage/room-model/event-reads.ts';
import type { Interner, Names } from '#src/storage/room-model/interner.ts';
import type { StateSlot } from './current-state.ts';
import { EventRing } from './event-ring.ts';
import { type Member, membershipOfCode } from './membership.ts';
import type { PartialState } from './partial-state.ts';
import { Room } from './room.ts';

/** How many events a room that is read from the database gets into its ring: fewer when many rooms are read for a first sync. */
const RING_LOAD = 24;
const RING_LOAD_OF_MANY = 11;
const MANY_ROOMS = 20;
/** Very many rooms are read in parts, a few parts at once: while some are made into objects, the database reads the next ones. */
const ROOMS_OF_PART = 400;
const PARTS_AT_ONCE = 3;
const REMEMBERED_IDS = 100_000;
const REMEMBERED_MISSES = 10_000;

/**
 * The rooms in memory. A room that was not used for long is evicted, but as long as any caller holds it, every caller gets the same
 * object: its head is the only one.
 */
export class RoomRegistry {
  readonly #database: Database;
  readonly #interner: Interner;
  readonly #events: EventLoader;
  readonly #states: StateStore;
  readonly #alive = new Map<number, WeakRef<Room>>();
  readonly #recent: CountedCache<number, Room>;
  readonly #nids = new CountedCache<string, number>('room_ids', atMost(REMEMBERED_IDS));
  /** Ids of which there is no room: clients ask again and again, and lists name them. */
  readonly #unknown = new LRUCache<string, true>(atMost(REMEMBERED_MISSES));
  readonly #loading = new OnceByKey<number, void>();
  readonly #collected = new FinalizationRegistry<number>((nid) => {
    if (this.#alive.get(nid)?.deref() === undefined) this.#alive.delete(nid);
  });

  /** @param cacheBytes about how much memory rooms may take that nobody uses */
  constructor(
    database: Database,
    interner: Interner,
    events: EventLoader,
    states: StateStore,
    cacheBytes = 256 * 1024 * 1024,
  ) {
    this.#database = database;
    this.#interner = interner;
    this.#events = events;
    this.#states = states;
    this.#recent = new CountedCache('rooms', { maxSize: cacheBytes, sizeCalculation: (room) => room.size });
  }

  /** What those that are kept weigh, in bytes, as of when each was weighed last. */
  get weight(): number {
    return this.#recent.weight;
  }

  /** A room by its id; undefined when this server does not have it, which includes rooms that it has only heard of. */
  async byId(roomId: string): Promise<Room | undefined> {
    const room = await this.heardOf(roomId);
    return room?.isHere === true ? room : undefined;
  }

  /** A room by its id, even if an invite or a knock is all that this server has of it. */
  async heardOf(roomId: string): Promise<Room | undefined> {
    const known = this.#nids.get(roomId);
    if (known !== undefined) return this.byNid(known);
    // Any string of a request may come here; PostgreSQL's text holds no NUL.
    if (roomId.includes('\0') || this.#unknown.has(roomId)) return undefined;
    const record = await roomById(this.#database, roomId);
    // It may have been made while we asked.
    if (record === undefined && !this.#nids.has(roomId) && isRoomId(roomId)) this.#unknown.set(roomId, true);
    if (record === undefined) return undefined;
    this.#nids.set(roomId, record.nid);
    return this.byNid(record.nid);
  }

  async byNid(nid: number): Promise<Room | undefined> {
    return this.peek(nid) ?? (await this.load([nid])).get(nid);
  }

  /** The room of an id if it is in memory. */
  peekById(roomId: string): Room | undefined {
    const nid = this.#nids.get(roomId);
    const room = nid === undefined ? undefined : this.peek(nid);
    return room?.isHere === true ? room : undefined;
  }

  /** The room if it is in memory. */
  peek(nid: number): Room | undefined {
    const room = this.#alive.get(nid)?.deref();
    // A room that was evicted while in use is registered again.
    if (room !== undefined && this.#recent.get(nid) === undefined) this.#recent.set(nid, room);
    return room;
  }

  /** Several rooms at once, in a handful of statements however many they are. */
  async load(nids: readonly number[]): Promise<Map<number, Room>> {
    const found = new Map<number, Room>();
    const missing: number[] = [];
    for (const nid of new Set(nids)) {
      const room = this.peek(nid);
      if (room === undefined) missing.push(nid);
      else found.set(nid, room);
    }
    if (missing.length === 0) return found;
    await this.#loading.runAll(missing, (some) => this.#readAll(some, found));
    // Others were reading some of them.
    for (const nid of missing) {
      const room = found.get(nid) ?? this.peek(nid);
      if (room !== undefined) found.set(nid, room);
    }
    return found;
  }

  /** Notes that the row of a room exists from now on. */
  appeared(roomId: string): void {
    this.#unknown.delete(roomId);
  }

  /** Registers a room that is about to be written, so that a caller who finds its row before its publication gets the same object. */
  announce(room: Room): void {
    this.#unknown.delete(room.roomId);
    this.#alive.set(room.nid, new WeakRef(room));
  }

  /** Adds a room that was just made. */
  add(room: Room): void {
    this.#unknown.delete(room.roomId);
    this.#nids.set(room.roomId, room.nid);
    this.#alive.set(room.nid, new WeakRef(room));
    this.#collected.register(room, room.nid);
    this.#recent.set(room.nid, room);
  }

  /** Notes that a room has grown, so that it is weighed again. */
  grown(room: Room): void {
    if (room.hasGrown) this.#recent.set(room.nid, room);
  }

  /** Takes back a room whose creation failed. */
  discard(room: Room): void {
    this.#nids.delete(room.roomId);
    this.#alive.delete(room.nid);
    this.#recent.delete(room.nid);
  }

  async #readAll(nids: readonly number[], found: Map<number, Room>): Promise<void> {
    const ringSize = nids.length > MANY_ROOMS ? RING_LOAD_OF_MANY : RING_LOAD;
    let next = 0;
    const readParts = async (): Promise<void> => {
      while (next < nids.length) {
        const part = nids.slice(next, next + ROOMS_OF_PART);
        next += ROOMS_OF_PART;
        await this.#read(part, ringSize, found);
      }
    };
    await Promise.all(Array.from({ length: PARTS_AT_ONCE }, readParts));
  }

  async #read(nids: readonly number[], ringSize: number, found: Map<number, Room>): Promise<void> {
    const records = (await roomsByNid(this.#database, nids)).filter(
      (record) => roomVersion(record.version) !== undefined,
    );
    const identities = new Map<number, EventRoom>();
    for (const { nid, room_id: roomId, version: id } of records) {
      const version = roomVersion(id);
      if (version !== undefined) identities.set(nid, { nid, roomId, version });
    }
    const rooms = [...identities.keys()];
    const [chains, members, newest] = await Promise.all([
      this.#states.load(records.map((record) => record.state)),
      membersOfRooms(this.#database, rooms),
      newestEvents(
        this.#database,
        records.map((record) => ({ room: record.nid, after: 0, upTo: record.last_pos })),
        ringSize,
      ),
    ]);
    // Each costs a copy.
    const others = new Map(Array.from(chains, ([nid, chain]) => [nid, chain.others()]));
    const names = await this.#interner.named({
      users: members.map((member) => member.user_nid),
      stateKeys: Array.from(others.values(), ({ keys }) => [...keys]).flat(),
    });
    const wanted = records.flatMap((record) => {
      const room = identities.get(record.nid);
      if (room === undefined) return [];
      return [...(others.get(record.state)?.events ?? []), ...record.extremities].map((nid) => ({ room, nid }));
    });
    const identityOf = (nid: number): EventRoom | undefined => identities.get(nid);
    const ringEvents = Map.groupBy(await this.#events.adopt(newest, identityOf), (event) => event.room.nid);
    const events = await this.#events.load(wanted);
    const membersByRoom = Map.groupBy(members, (member) => member.room);
    for (const record of records) {
      const identity = identities.get(record.nid);
      if (identity === undefined) continue;
      const present = this.peek(record.nid);
      if (present !== undefined) {
        found.set(present.nid, present);
        continue;
      }
      const room = this.#assemble(record, identity, {
        chain: chains.get(record.state) ?? StateChain.EMPTY,
        others: others.get(record.state) ?? StateChain.EMPTY.others(),
        event: (nid) => events.get(nid),
        names,
        ring: ringOf((ringEvents.get(record.nid) ?? []).toReversed(), ringSize),
        members: (membersByRoom.get(record.nid) ?? []).map((row): Member => ({
          userId: names.userName(row.user_nid),
          user: row.user_nid,
          membership: membershipOfCode(row.membership),
          event: row.event,
          since: row.since,
          local: row.local,
          forgotten: row.forgotten,
        })),
      });
      this.add(room);
      found.set(room.nid, room);
    }
  }

  #assemble(
    record: RoomRecord,
    identity: EventRoom,
    parts: {
      readonly chain: StateChain;
      /** Its entries but memberships. */
      readonly others: EntryList;
      readonly names: Names;
      readonly event: (nid: number) => ReturnType<EventLoader['peek']>;
      readonly ring: EventRing;
      readonly members: readonly Member[];
    },
  ): Room {
    const state = new Map<string, StateSlot>();
    for (const [skey, nid] of parts.others) {
      const event = parts.event(nid);
      if (event === undefined) throw new Error(`state event ${nid} of room ${record.room_id} is not in the database`);
      const { type, stateKey } = parts.names.stateKeyNames(skey);
      state.set(stateMapKey(type, stateKey), { skey, event });
    }
    const extremities = record.extremities.map((nid) => parts.event(nid)).filter((event) => event !== undefined);
    return new Room({
      ...identity,
      shard: record.shard,
      roomType: record.room_type ?? undefined,
      isPublic: record.is_public,
      head: { extremities, chain: parts.chain },
      depth: record.depth,
      lastPosition: record.last_pos,
      state,
      members: new Map(parts.members.map((member) => [member.userId, member])),
      ring: parts.ring,
      partial: partialOf(record),
      fullSince: record.full_pos ?? 0,
    });
  }
}

const partialOf = ({
  partial_state: state,
  join_pos: join,
  via,
  servers,
  before,
}: RoomRecord): PartialState | undefined =>
  state === null || join === null || via === null
    ? undefined
    : { state, join, via, servers: textsIn(servers), before: textsIn(before) };

const textsIn = (json: string | null): ReadonlySet<string> => new Set(JSON.parse(json ?? '[]') as readonly string[]);

/** @param wanted how many events were asked for: fewer are all that there are */
const ringOf = (events: StoredEvent[], wanted: number): EventRing =>
  new EventRing(events, events.length < wanted ? 0 : (events[0]?.nid ?? 1) - 1);
