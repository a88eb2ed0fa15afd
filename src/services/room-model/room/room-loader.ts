import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventRoom, StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { EntryList } from '#src/services/room-model/state/entry-list.ts';
import { StateChain } from '#src/services/room-model/state/state-chain.ts';
import type { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { Database } from '#src/storage/database.ts';
import { type EventRecord, newestEvents } from '#src/storage/room-model/event-reads.ts';
import { membersOfRooms } from '#src/storage/room-model/member-rows.ts';
import { type RoomRecord, roomsByNid } from '#src/storage/room-model/room-rows.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { Names } from '#src/storage/room-model/names.ts';
import type { StateSlot } from './current-state.ts';
import { EventRing } from './event-ring.ts';
import { type Member, membershipOfCode } from './membership.ts';
import { type RoomStub, standingOf } from './room-stub.ts';
import { Room } from './room.ts';

/** How many events a room that is read from the database gets into its ring: fewer when many rooms are read for a first sync. */
const RING_LOAD: RingLoad = { events: 24, bytes: 1_048_576 };
const RING_OF_MANY: RingLoad = { events: 11, bytes: 65_536 };
const MANY_ROOMS = 20;
/** Very many rooms are read in parts, a few parts at once: while some are made into objects, the database reads the next ones. */
const ROOMS_OF_PART = 400;
const PARTS_AT_ONCE = 3;
/** A member takes about so many bytes of memory. */
const BYTES_OF_MEMBER = 200;
/** How many rooms a caller who bounds their bytes asks for at once. */
export const ROOMS_READ_AT_ONCE = 5 * ROOMS_OF_PART;

/** Of how many of the newest events, and bytes of them, a ring is made. */
interface RingLoad {
  readonly events: number;
  readonly bytes: number;
}

/** The rooms that are in memory: one that came there while it was read is not made once more. */
interface RoomsInMemory {
  peek(nid: number): Room | undefined;
  peekStub(nid: number): RoomStub | undefined;
  add(room: Room): void;
}

/** Makes rooms of what is in the database: row, state, memberships and the newest events of each, in a handful of statements for all. */
export class RoomLoader {
  readonly #database: Database;
  readonly #interner: Interner;
  readonly #events: EventLoader;
  readonly #states: StateStore;
  readonly #memory: RoomsInMemory;

  constructor(database: Database, interner: Interner, events: EventLoader, states: StateStore, memory: RoomsInMemory) {
    this.#database = database;
    this.#interner = interner;
    this.#events = events;
    this.#states = states;
    this.#memory = memory;
  }

  /**
   * Reads rooms, very many of them in parts, and adds each to those in memory and to `found`. What does not exist is left out.
   *
   * @param maxBytes about how much the rooms may take; one is read in any case
   * @returns those that were left out, because there are so many bytes of the others
   */
  async read(nids: readonly number[], found: Map<number, Room>, maxBytes: number): Promise<ReadonlySet<number>> {
    const ring = nids.length > MANY_ROOMS ? RING_OF_MANY : RING_LOAD;
    const parts = Math.ceil(nids.length / ROOMS_OF_PART);
    const left = new Set<number>();
    let next = 0;
    const readParts = async (): Promise<void> => {
      while (next < nids.length) {
        const part = nids.slice(next, next + ROOMS_OF_PART);
        next += ROOMS_OF_PART;
        for (const nid of await this.#readPart(part, ring, found, maxBytes / parts)) left.add(nid);
      }
    };
    await Promise.all(Array.from({ length: Math.min(parts, PARTS_AT_ONCE) }, readParts));
    return left;
  }

  /** @returns the rooms that were not read, because those before them have so many bytes already */
  async #readPart(
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
      const stub = this.#memory.peekStub(nid);
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
      const present = this.#memory.peek(record.nid);
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
      this.#memory.add(room);
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
      stub: this.#memory.peekStub(record.nid),
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
