import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import type { LRUCache } from 'lru-cache';
import type { Database } from '#src/storage/database.ts';
import { type EventRecord, eventById, eventsByNid, eventsByNidUpTo } from '#src/storage/room-model/event-reads.ts';
import { positionsById } from '#src/storage/room-model/event-positions.ts';
import { statesOfEvents } from '#src/storage/room-model/state-reads.ts';
import { eventIdBytes, eventIdText } from './event-ids.ts';
import { type EventRoom, type EventStanding, StoredEvent } from './stored-event.ts';

/** An event to be loaded: where it is, and its room. */
export interface EventPlace {
  readonly room: EventRoom;
  readonly nid: number;
}

/** Reads events by position or id. The most recently used ones stay in memory, bounded in bytes; one object for each event. */
export class EventLoader {
  readonly #database: Database;
  readonly #cache: LRUCache<number, StoredEvent>;

  /** @param cacheBytes about how much memory the cache may take */
  constructor(database: Database, cacheBytes = 32 * 1024 * 1024) {
    this.#database = database;
    this.#cache = new CountedCache('events', { maxSize: cacheBytes, sizeCalculation: (event) => event.size });
  }

  /** The event at this position if it is in memory. */
  peek(nid: number): StoredEvent | undefined {
    return this.#cache.get(nid);
  }

  /** Adds an event that was just written. */
  remember(event: StoredEvent): void {
    this.#cache.set(event.nid, event);
  }

  /** Releases the parsed forms of cached events. */
  shrink(): void {
    for (const event of this.#cache.values()) event.shrink();
  }

  /** Removes purged events, and detaches those that are only kept for the state. */
  removePurged(gone: ReadonlySet<number>, detached: ReadonlySet<number>): void {
    for (const nid of gone) this.#cache.delete(nid);
    for (const nid of detached) this.#cache.get(nid)?.detach();
  }

  /** Attaches restored events again, by their positions. */
  attachRestored(restored: ReadonlyMap<number, EventStanding>): void {
    for (const [nid, standing] of restored) this.#cache.peek(nid)?.attach(standing);
  }

  /** Removes the content of these purged events from `prev_content` of the events that replaced them. */
  forgetPrevious(gone: ReadonlySet<number>): void {
    for (const event of this.#cache.values()) {
      if (event.previous !== undefined && gone.has(event.previous.nid)) event.previous = undefined;
    }
  }

  /** The events at these places; what does not exist is left out. One statement for all, and one for what they replace. */
  async load(places: readonly EventPlace[]): Promise<Map<number, StoredEvent>> {
    const found = new Map<number, StoredEvent>();
    const missing = this.#recall(places, found);
    if (missing.size === 0) return found;
    const rooms = new Map([...missing.values()].map((place) => [place.room.nid, place.room]));
    const records = await this.#read(missing);
    for (const event of await this.adopt(records, (room) => rooms.get(room))) found.set(event.nid, event);
    return found;
  }

  /**
   * The same for events of several rooms that may be very large: those of the first rooms, as many of these as have so many bytes together, but
   * of one room in any case.
   *
   * @param rooms the places in each room
   * @returns the events, and of how many rooms they are all there
   */
  async loadSome(
    rooms: readonly (readonly EventPlace[])[],
    maxBytes: number,
  ): Promise<{ readonly events: ReadonlyMap<number, StoredEvent>; readonly complete: number }> {
    const events = new Map<number, StoredEvent>();
    const missing = this.#recall(rooms.flat(), events);
    if (missing.size === 0) return { events, complete: rooms.length };
    const roomOf = new Map([...missing.values()].map((place) => [place.room.nid, place.room]));
    const records = await eventsByNidUpTo(this.#database, placesIn(missing), maxBytes);
    for (const event of await this.adopt(records, (room) => roomOf.get(room))) events.set(event.nid, event);
    const cut =
      records.length === missing.size ? -1 : rooms.findIndex((places) => !places.every(({ nid }) => events.has(nid)));
    if (cut > 0) return { events, complete: cut };
    if (cut < 0) return { events, complete: rooms.length };
    for (const [nid, event] of await this.load(rooms[0] ?? [])) events.set(nid, event);
    return { events, complete: 1 };
  }

  /** The ids of the states before events of a room, without the events' texts; what does not exist is left out. One statement at most. */
  async statesOf(
    room: EventRoom,
    nids: readonly number[],
  ): Promise<readonly { readonly nid: number; readonly state: number }[]> {
    const found: { readonly nid: number; readonly state: number }[] = [];
    const missing: number[] = [];
    for (const nid of nids) {
      const known = this.#cache.get(nid);
      if (known === undefined) missing.push(nid);
      else found.push({ nid, state: known.state });
    }
    return missing.length === 0 ? found : [...found, ...(await statesOfEvents(this.#database, room.nid, missing))];
  }

  /** One event by position. */
  async one(room: EventRoom, nid: number): Promise<StoredEvent | undefined> {
    return (await this.load([{ room, nid }])).get(nid);
  }

  /** One event by id, if it is in this room. */
  async byId(room: EventRoom, eventId: string): Promise<StoredEvent | undefined> {
    const record = await eventById(this.#database, eventIdBytes(eventId));
    if (record === undefined || record.room !== room.nid) return undefined;
    return (await this.adopt([record], () => room))[0];
  }

  /** The positions of events of these rooms by their ids, in the same order. One statement; undefined for what is not in its room. */
  async positions(
    wanted: readonly { readonly room: Pick<EventRoom, 'nid'>; readonly eventId: string }[],
  ): Promise<readonly (number | undefined)[]> {
    if (wanted.length === 0) return [];
    const ids = wanted.map(({ eventId }) => eventIdBytes(eventId));
    const keyOf = (room: number, id: Buffer): string => `${room} ${id.toString('latin1')}`;
    const records = await positionsById(this.#database, ids);
    const found = new Map(records.map((record) => [keyOf(record.room, record.event_id), record.nid]));
    return wanted.map(({ room }, index) => found.get(keyOf(room.nid, ids[index] as Buffer)));
  }

  /**
   * Turns rows into events, in the same order, with the events they replaced and were redacted by.
   * Rows of rooms that `roomOf` does not know are left out.
   */
  async adopt(records: readonly EventRecord[], roomOf: (nid: number) => EventRoom | undefined): Promise<StoredEvent[]> {
    const events: StoredEvent[] = [];
    const companions: EventPlace[] = [];
    const fresh: { event: StoredEvent; record: EventRecord }[] = [];
    for (const record of records) {
      const room = roomOf(record.room);
      if (room === undefined) continue;
      const known = this.#cache.get(record.nid);
      if (known !== undefined) {
        events.push(known);
        continue;
      }
      const event = new StoredEvent({
        room,
        nid: record.nid,
        topo: record.topo,
        eventId: eventIdText(room.version, record.event_id),
        state: record.state,
        flags: record.flags,
        replaces: record.replaces ?? undefined,
        currentState: record.current_state ?? undefined,
        delayId: record.delay_id ?? undefined,
        sentBy: record.sent_by ?? undefined,
        json: record.json,
      });
      events.push(event);
      fresh.push({ event, record });
      if (record.replaces !== null) companions.push({ room, nid: record.replaces });
      if (record.redacted_by !== null) companions.push({ room, nid: record.redacted_by });
    }
    // In memory before their companions are fetched: two readers at once must end up with the same object.
    for (const { event } of fresh) this.#cache.set(event.nid, event);
    if (companions.length > 0) {
      const own = new Map(fresh.map(({ event }) => [event.nid, event]));
      const loaded = await this.#loadCompanions(companions.filter((place) => !own.has(place.nid)));
      for (const { event, record } of fresh) {
        if (record.replaces !== null) event.previous = own.get(record.replaces) ?? loaded.get(record.replaces);
        const because =
          record.redacted_by === null ? undefined : (own.get(record.redacted_by) ?? loaded.get(record.redacted_by));
        if (because !== undefined) event.setRedactedBecause(because);
      }
    }
    return events;
  }

  /** Puts what is in memory into `found`, and returns the rest. */
  #recall(places: readonly EventPlace[], found: Map<number, StoredEvent>): Map<number, EventPlace> {
    const missing = new Map<number, EventPlace>();
    for (const place of places) {
      const known = this.#cache.get(place.nid);
      if (known === undefined) missing.set(place.nid, place);
      else found.set(place.nid, known);
    }
    return missing;
  }

  #read(missing: ReadonlyMap<number, EventPlace>): Promise<EventRecord[]> {
    return eventsByNid(this.#database, placesIn(missing));
  }

  /** Companions are read without companions of their own: only their content and id are served. */
  async #loadCompanions(places: readonly EventPlace[]): Promise<Map<number, StoredEvent>> {
    const found = new Map<number, StoredEvent>();
    const missing = this.#recall(places, found);
    if (missing.size === 0) return found;
    const rooms = new Map([...missing.values()].map((place) => [place.room.nid, place.room]));
    for (const record of await this.#read(missing)) {
      const room = rooms.get(record.room);
      if (room === undefined) continue;
      const eventId = eventIdText(room.version, record.event_id);
      const { nid, topo, state, flags, json } = record;
      found.set(nid, new StoredEvent({ room, nid, topo, eventId, state, flags, replaces: undefined, json }));
    }
    return found;
  }
}

const placesIn = (missing: ReadonlyMap<number, EventPlace>): { readonly room: number; readonly nid: number }[] =>
  Array.from(missing.values(), ({ nid, room }) => ({ room: room.nid, nid }));
