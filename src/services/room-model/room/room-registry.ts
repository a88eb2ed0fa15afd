import { LRUCache } from 'lru-cache';
import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import { isRoomId } from '#src/protocol/identifiers/identifiers.ts';
import { atMost } from '#src/kernel/caches/at-most.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventRoom, StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { EntryList } from '#src/services/room-model/state/entry-list.ts';
import { StateChain } from '#src/services/room-model/state/state-chain.ts';
import type { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { Database } from '#src/storage/database.ts';
import {
  type EventRecord,
  membersOfRooms,
  newestEvents,
  type RoomRecord,
  type RoomStubRecord,
  roomsByNid,
} from '#src/storage/room-model/event-reads.ts';
import type { Interner, Names } from '#src/storage/room-model/interner.ts';
import { roomNumbersById } from '#src/storage/room-model/room-ids.ts';
import type { StateSlot } from './current-state.ts';
import { EventRing } from './event-ring.ts';
import { type Member, membershipOfCode } from './membership.ts';
import type { PartialState } from './partial-state.ts';
import { type RoomStanding, RoomStub } from './room-stub.ts';
import { Room } from './room.ts';

/** How many events a room that is read from the database gets into its ring: fewer when many rooms are read for a first sync. */
const RING_LOAD: RingLoad = { events: 24, bytes: 1_048_576 };
const RING_OF_MANY: RingLoad = { events: 11, bytes: 65_536 };
const MANY_ROOMS = 20;
/** Very many rooms are read in parts, a few parts at once: while some are made into objects, the database reads the next ones. */
const ROOMS_OF_PART = 400;
const PARTS_AT_ONCE = 3;
const MOST_PARTS = 5;
/** A member takes about so many bytes of memory. */
const BYTES_OF_MEMBER = 200;
const REMEMBERED_IDS = 100_000;
const REMEMBERED_MISSES = 10_000;
const NO_NUMBERS: ReadonlyMap<string, number> = new Map();

/** Of how many of the newest events, and bytes of them, a ring is made. */
interface RingLoad {
  readonly events: number;
  readonly bytes: number;
}

/**
 * The rooms in memory. A room that was not used for long is evicted, but as long as any caller holds it, every caller gets the same
 * object: its head is the only one. So nobody holds a room for longer than a request takes: what has to last longer holds its stub.
 */
export class RoomRegistry {
  readonly #database: Database;
  readonly #interner: Interner;
  readonly #events: EventLoader;
  readonly #states: StateStore;
  readonly #alive = new Map<number, WeakRef<Room>>();
  readonly #recent: CountedCache<number, Room>;
  readonly #stubs = new Map<number, WeakRef<RoomStub>>();
  /** Stubs of rooms that came to memory while stubs are read: what is read may be older. */
  readonly #newStubs = new Set<Map<number, RoomStub>>();
  readonly #nids = new CountedCache<string, number>('room_ids', atMost(REMEMBERED_IDS));
  /** Ids of which there is no room: clients ask again and again, and lists name them. */
  readonly #unknown = new LRUCache<string, true>(atMost(REMEMBERED_MISSES));
  readonly #loading = new OnceByKey<number, void>();
  readonly #collected = new FinalizationRegistry<number>((nid) => {
    if (this.#alive.get(nid)?.deref() === undefined) this.#alive.delete(nid);
    if (this.#stubs.get(nid)?.deref() === undefined) this.#stubs.delete(nid);
  });

  /** @param cacheBytes about how much memory rooms may take beside those that a request is using at this moment */
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
    const nid = this.#nids.get(roomId) ?? (await this.numbersOf([roomId])).get(roomId);
    return nid === undefined ? undefined : this.byNid(nid);
  }

  /**
   * The numbers of rooms by their ids, in the order of these. What is no room of which this server has anything is left out. One statement,
   * however many ids are new, and none for those that were looked for lately.
   */
  async numbersOf(roomIds: Iterable<string>): Promise<Map<string, number>> {
    const ids = new Set(roomIds);
    // Any string of a request may come here; no room has an id that is none.
    const missing = [...ids].filter((id) => !this.#nids.has(id) && !this.#unknown.has(id) && isRoomId(id));
    const read = missing.length === 0 ? NO_NUMBERS : await roomNumbersById(this.#database, missing);
    for (const id of missing) {
      const nid = read.get(id);
      if (nid !== undefined) this.#nids.set(id, nid);
      // It may have been made while we asked.
      else if (!this.#nids.has(id)) this.#unknown.set(id, true);
    }
    const numbers = new Map<string, number>();
    for (const id of ids) {
      const nid = read.get(id) ?? this.#nids.get(id);
      if (nid !== undefined) numbers.set(id, nid);
    }
    return numbers;
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

  /** The same, without counting as a use of it. */
  glance(nid: number): Room | undefined {
    return this.#alive.get(nid)?.deref();
  }

  /** The stubs of rooms; one statement for those of which nothing is in memory. What does not exist is left out. */
  async stubs(nids: readonly number[]): Promise<Map<number, RoomStub>> {
    const found = new Map<number, RoomStub>();
    const missing: number[] = [];
    for (const nid of nids) {
      const stub = this.#stubs.get(nid)?.deref();
      if (stub === undefined) missing.push(nid);
      else found.set(nid, stub);
    }
    if (missing.length === 0) return found;
    const read = await this.stubsRead(async (stubOf) => {
      const records = await roomsByNid(this.#database, missing);
      return records.flatMap((record) => stubOf(record) ?? []);
    });
    for (const stub of read) found.set(stub.nid, stub);
    return found;
  }

  /**
   * Makes stubs of what is read from the database; of a room of which something is in memory, or came to it meanwhile, it is that.
   *
   * @param read is given what makes a stub of a record; undefined for a room of an unknown version
   */
  async stubsRead<T>(read: (stubOf: (record: RoomStubRecord) => RoomStub | undefined) => Promise<T>): Promise<T> {
    const newer = new Map<number, RoomStub>();
    this.#newStubs.add(newer);
    try {
      return await read((record) => {
        const known = newer.get(record.nid) ?? this.#stubs.get(record.nid)?.deref();
        const version = roomVersion(record.version);
        if (known !== undefined || version === undefined) return known;
        const stub = new RoomStub(identityOf(record, version), standingOf(record, version));
        this.#keepStub(stub);
        return stub;
      });
    } finally {
      this.#newStubs.delete(newer);
    }
  }

  #keepStub(stub: RoomStub): void {
    if (this.#stubs.get(stub.nid)?.deref() === stub) return;
    this.#stubs.set(stub.nid, new WeakRef(stub));
    this.#collected.register(stub, stub.nid);
    for (const newer of this.#newStubs) newer.set(stub.nid, stub);
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
    const own = new Set<number>();
    await this.#loading.runAll(missing, async (some) => {
      for (const nid of some) own.add(nid);
      await this.#readSome(some, found, Infinity);
    });
    const again: number[] = [];
    for (const nid of missing) {
      const room = found.get(nid) ?? this.peek(nid);
      if (room !== undefined) found.set(nid, room);
      else if (!own.has(nid)) again.push(nid);
    }
    // Others were reading them, and may have left some out (`loadSome`).
    if (again.length > 0) for (const [nid, room] of await this.load(again)) found.set(nid, room);
    return found;
  }

  /**
   * The first of several rooms, in their order: those that are in memory, and as many others as take a part of what rooms may take there, but
   * one in any case. What does not exist is left out.
   *
   * @param share which part; between 0 and 1
   * @returns them, and how many of the numbers were looked at
   */
  async loadSome(
    nids: readonly number[],
    share = 1 / 4,
  ): Promise<{ readonly rooms: ReadonlyMap<number, Room>; readonly looked: number }> {
    const maxBytes = share * this.#recent.limit;
    const rooms = new Map<number, Room>();
    const missing: number[] = [];
    let bytes = 0;
    let looked = 0;
    for (; looked < nids.length; looked += 1) {
      const nid = nids[looked] as number;
      const room = this.peek(nid);
      if (room !== undefined) {
        rooms.set(nid, room);
        continue;
      }
      bytes += this.#stubs.get(nid)?.deref()?.weight ?? 0;
      if (missing.length > 0 && bytes > maxBytes) break;
      if (missing.push(nid) === MOST_PARTS * ROOMS_OF_PART) {
        looked += 1;
        break;
      }
    }
    if (missing.length === 0) return { rooms, looked };
    const own = new Set<number>();
    const left = new Set<number>();
    await this.#loading.runAll(missing, async (some) => {
      for (const nid of some) own.add(nid);
      for (const nid of await this.#readSome(some, rooms, maxBytes)) left.add(nid);
    });
    for (const nid of missing) {
      if (rooms.has(nid) || left.has(nid) || own.has(nid)) continue;
      // Others were reading it, and may have left it out; the first one is read in any case.
      const room = this.peek(nid) ?? (nid === nids[0] ? await this.byNid(nid) : undefined);
      if (room !== undefined) rooms.set(nid, room);
      else if (nid !== nids[0]) left.add(nid);
    }
    // The others are for the next time.
    const first = left.size === 0 ? -1 : nids.findIndex((nid) => left.has(nid));
    return { rooms, looked: first < 0 ? looked : first };
  }

  /** Looks at each of these rooms: at once at those that are in memory, then at the others, of which so many bytes are read at a time. */
  visit(stubs: Iterable<Pick<RoomStub, 'nid'>>, look: (room: Room) => void): Promise<void> | undefined {
    let missing: number[] | undefined;
    for (const { nid } of stubs) {
      const room = this.glance(nid);
      if (room === undefined) (missing ??= []).push(nid);
      else look(room);
    }
    return missing === undefined ? undefined : this.#visit(missing, look);
  }

  async #visit(nids: readonly number[], look: (room: Room) => void): Promise<void> {
    for await (const rooms of this.parts(nids)) for (const room of rooms) look(room);
  }

  /** These rooms in their order, as many bytes at a time as `loadSome` reads. What does not exist is left out. */
  async *parts(nids: readonly number[]): AsyncGenerator<readonly Room[]> {
    for (let at = 0; at < nids.length;) {
      const { looked, rooms } = await this.loadSome(nids.slice(at, at + MOST_PARTS * ROOMS_OF_PART));
      yield nids.slice(at, at + looked).flatMap((nid) => rooms.get(nid) ?? []);
      at += looked;
    }
  }

  /** Notes that the row of a room exists from now on. */
  appeared(roomId: string): void {
    this.#unknown.delete(roomId);
  }

  /** Registers a room that is about to be written, so that a caller who finds its row before its publication gets the same object. */
  announce(room: Room): void {
    this.#unknown.delete(room.roomId);
    this.#alive.set(room.nid, new WeakRef(room));
    this.#keepStub(room.stub);
  }

  /** Adds a room that was just made. */
  add(room: Room): void {
    this.#unknown.delete(room.roomId);
    this.#nids.set(room.roomId, room.nid);
    this.#alive.set(room.nid, new WeakRef(room));
    this.#collected.register(room, room.nid);
    this.#keepStub(room.stub);
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
    this.#stubs.delete(room.nid);
    this.#recent.delete(room.nid);
  }

  /** Reads very many rooms in parts. @returns those that were left out, because there are so many bytes of the others */
  async #readSome(nids: readonly number[], found: Map<number, Room>, maxBytes: number): Promise<ReadonlySet<number>> {
    const ring = nids.length > MANY_ROOMS ? RING_OF_MANY : RING_LOAD;
    const parts = Math.ceil(nids.length / ROOMS_OF_PART);
    const left = new Set<number>();
    let next = 0;
    const readParts = async (): Promise<void> => {
      while (next < nids.length) {
        const part = nids.slice(next, next + ROOMS_OF_PART);
        next += ROOMS_OF_PART;
        for (const nid of await this.#read(part, ring, found, maxBytes / parts)) left.add(nid);
      }
    };
    await Promise.all(Array.from({ length: Math.min(parts, PARTS_AT_ONCE) }, readParts));
    return left;
  }

  /** @returns the rooms that were not read, because those before them have so many bytes already */
  async #read(
    nids: readonly number[],
    ringLoad: RingLoad,
    found: Map<number, Room>,
    maxBytes: number,
  ): Promise<ReadonlySet<number>> {
    const places = new Map(nids.map((nid, index) => [nid, index]));
    const all = (await roomsByNid(this.#database, nids))
      .filter((record) => roomVersion(record.version) !== undefined)
      .toSorted((a, b) => (places.get(a.nid) ?? 0) - (places.get(b.nid) ?? 0));
    const identities = new Map<number, EventRoom>();
    for (const { nid, room_id: roomId, version: id } of all) {
      const version = roomVersion(id);
      if (version !== undefined) identities.set(nid, { nid, roomId, version });
    }
    const identityOf = (nid: number): EventRoom | undefined => identities.get(nid);
    const [chains, newest] = await Promise.all([
      this.#states.load(all.map((record) => record.state)),
      newestEvents(
        this.#database,
        all.map((record) => ({ room: record.nid, after: 0, upTo: record.last_pos })),
        ringLoad.events,
        ringLoad.bytes,
      ),
    ]);
    // First: what is among the newest events is not read once more as state.
    const ringEvents = Map.groupBy(await this.#events.adopt(newest, identityOf), (event) => event.room.nid);
    const cut = cutRooms(newest, ringLoad);
    // Each costs a copy.
    const others = new Map(Array.from(chains, ([nid, chain]) => [nid, chain.others()]));
    const fitting = firstOf(all, (record) => sizeOfState(chains.get(record.state)), maxBytes);
    // So that they are not read again before there is room for them.
    for (const { nid, state } of all.slice(fitting.length)) {
      const stub = this.#stubs.get(nid)?.deref();
      if (stub !== undefined) stub.weight ||= sizeOfState(chains.get(state));
    }
    const wanted = fitting.map((record) => {
      const room = identities.get(record.nid);
      if (room === undefined) return [];
      return [...(others.get(record.state)?.events ?? []), ...record.extremities].map((nid) => ({ room, nid }));
    });
    const [members, { events, complete }] = await Promise.all([
      membersOfRooms(
        this.#database,
        fitting.map(({ nid }) => nid),
      ),
      maxBytes === Infinity
        ? this.#events.load(wanted.flat()).then((events) => ({ events, complete: wanted.length }))
        : this.#events.loadSome(wanted, maxBytes),
    ]);
    const records = fitting.slice(0, complete);
    const names = await this.#interner.named({
      users: members.map((member) => member.user_nid),
      stateKeys: records.flatMap((record) => [...(others.get(record.state)?.keys ?? [])]),
    });
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
        ring: ringOf((ringEvents.get(record.nid) ?? []).toReversed(), cut.has(record.nid)),
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
    return new Set(all.slice(complete).map(({ nid }) => nid));
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
      ...standingOf(record, identity.version),
      stub: this.#stubs.get(record.nid)?.deref(),
      shard: record.shard,
      roomType: record.room_type ?? undefined,
      isPublic: record.is_public,
      head: { extremities, chain: parts.chain },
      depth: record.depth,
      state,
      members: new Map(parts.members.map((member) => [member.userId, member])),
      ring: parts.ring,
    });
  }
}

const identityOf = (
  { nid, room_id: roomId, shard }: RoomStubRecord,
  version: RoomVersion,
): EventRoom & Pick<Room, 'shard'> => ({
  nid,
  roomId,
  shard,
  version,
});

const standingOf = (record: RoomStubRecord, version: RoomVersion): RoomStanding => ({
  version,
  lastPosition: record.last_pos,
  partial: partialOf(record),
  fullSince: record.full_pos ?? 0,
});

const partialOf = ({
  partial_state: state,
  join_pos: join,
  via,
  servers,
  before,
}: RoomStubRecord): PartialState | undefined =>
  state === null || join === null || via === null
    ? undefined
    : { state, join, via, servers: textsIn(servers), before: textsIn(before) };

const textsIn = (json: string | null): ReadonlySet<string> => new Set(JSON.parse(json ?? '[]') as readonly string[]);

/** @param isCut whether there may be more events before these than were read */
const ringOf = (events: StoredEvent[], isCut: boolean): EventRing =>
  new EventRing(events, isCut ? (events[0]?.nid ?? 1) - 1 : 0);

/** UTF-8 has three bytes at most for each unit of a string. */
const MAX_BYTES_OF_UNIT = 3;

/** The rooms of which as many events were read as were asked for, or as many bytes. */
const cutRooms = (newest: readonly EventRecord[], wanted: RingLoad): ReadonlySet<number> => {
  const cut = new Set<number>();
  for (const [room, records] of Map.groupBy(newest, (record) => record.room)) {
    // To count the bytes of thousands of short texts takes longer than to read them.
    const units = records.reduce((sum, { json }) => sum + json.length, 0);
    const mayHaveAll = units * MAX_BYTES_OF_UNIT >= wanted.bytes;
    const hasAll = mayHaveAll && records.reduce((sum, { json }) => sum + Buffer.byteLength(json), 0) >= wanted.bytes;
    if (records.length >= wanted.events || hasAll) cut.add(room);
  }
  return cut;
};

/** How many bytes a room takes at least with such a state. */
const sizeOfState = (chain = StateChain.EMPTY): number =>
  BYTES_OF_MEMBER * chain.deltas.reduce((sum, { others, members }) => sum + others.size + members.size, 0);

/** The first ones that have so many bytes together, and one in any case. */
const firstOf = <T>(all: readonly T[], sizeOf: (one: T) => number, maxBytes: number): readonly T[] => {
  let bytes = 0;
  const end = all.findIndex((one, index) => (bytes += sizeOf(one)) > maxBytes && index > 0);
  return end < 0 ? all : all.slice(0, end);
};
