import { LRUCache } from 'lru-cache';
import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import { isRoomId } from '#src/protocol/identifiers/identifiers.ts';
import { atMost } from '#src/kernel/caches/at-most.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { Database } from '#src/storage/database.ts';
import { type RoomStubRecord, roomsByNid } from '#src/storage/room-model/room-rows.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { roomNumbersById } from '#src/storage/room-model/room-ids.ts';
import { RoomLoader, ROOMS_READ_AT_ONCE } from './room-loader.ts';
import { type RoomStub, stubOf } from './room-stub.ts';
import type { Room } from './room.ts';

const REMEMBERED_IDS = 100_000;
const REMEMBERED_MISSES = 10_000;
const NO_NUMBERS: ReadonlyMap<string, number> = new Map();

/**
 * The rooms in memory. A room that was not used for long is evicted, but as long as any caller holds it, every caller gets the same
 * object: its head is the only one. So nobody holds a room for longer than a request takes: what has to last longer holds its stub.
 */
export class RoomRegistry {
  readonly #database: Database;
  readonly #loader: RoomLoader;
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
    this.#loader = new RoomLoader(database, interner, events, states, this);
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

  /** The stub of a room of which something is in memory. */
  peekStub(nid: number): RoomStub | undefined {
    return this.#stubs.get(nid)?.deref();
  }

  /** The stubs of rooms; one statement for those of which nothing is in memory. What does not exist is left out. */
  async stubs(nids: readonly number[]): Promise<Map<number, RoomStub>> {
    const found = new Map<number, RoomStub>();
    const missing: number[] = [];
    for (const nid of nids) {
      const stub = this.peekStub(nid);
      if (stub === undefined) missing.push(nid);
      else found.set(nid, stub);
    }
    if (missing.length === 0) return found;
    const read = await this.stubsRead(async (stubOfRecord) => {
      const records = await roomsByNid(this.#database, missing);
      return records.flatMap((record) => stubOfRecord(record) ?? []);
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
        const known = newer.get(record.nid) ?? this.peekStub(record.nid);
        const version = roomVersion(record.version);
        if (known !== undefined || version === undefined) return known;
        const stub = stubOf(record, version);
        this.#keepStub(stub);
        return stub;
      });
    } finally {
      this.#newStubs.delete(newer);
    }
  }

  #keepStub(stub: RoomStub): void {
    if (this.peekStub(stub.nid) === stub) return;
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
      await this.#loader.read(some, found, Infinity);
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
      bytes += this.peekStub(nid)?.weight ?? 0;
      if (missing.length > 0 && bytes > maxBytes) break;
      if (missing.push(nid) === ROOMS_READ_AT_ONCE) {
        looked += 1;
        break;
      }
    }
    if (missing.length === 0) return { rooms, looked };
    const own = new Set<number>();
    const left = new Set<number>();
    await this.#loading.runAll(missing, async (some) => {
      for (const nid of some) own.add(nid);
      for (const nid of await this.#loader.read(some, rooms, maxBytes)) left.add(nid);
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
      const { looked, rooms } = await this.loadSome(nids.slice(at, at + ROOMS_READ_AT_ONCE));
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
}
