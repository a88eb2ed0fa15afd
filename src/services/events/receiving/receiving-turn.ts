import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { createEventIdOf } from '#src/protocol/events/pdu.ts';
import { positionsById } from '#src/storage/room-model/event-positions.ts';
import { stateEntriesById } from '#src/storage/room-model/state-reads.ts';
import { eventIdBytes, eventIdText } from '#src/services/room-model/event/event-ids.ts';
import type { EventLoader, EventPlace } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Member } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StateChain } from '#src/services/room-model/state/state-chain.ts';
import type { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { StateEntries } from '#src/services/events/resolution/state-entries.ts';
import type { StateMerger } from '#src/services/events/resolution/state-merger.ts';
import type { Database } from '#src/storage/database.ts';
import { ReceivedStates } from './received-state.ts';

/** The position of an event that is stored, or on its way into the database. */
export interface Place {
  readonly nid: number;
  readonly flags: number;
}

export interface ReceivingTurnOptions {
  readonly database: Database;
  readonly loader: EventLoader;
  readonly states: StateStore;
  readonly merger: StateMerger;
}

/** What later events have to know of an event that was queued for writing. */
export interface QueuedEvent {
  readonly event: StoredEvent;
  readonly chains: readonly StateChain[];
  readonly members: readonly Member[];
  /** What comes next has to see it committed. */
  readonly changesMore: boolean;
  readonly written: Promise<void>;
}

/** Events on their way at most, before they are waited for. */
const MAX_PENDING = 300;

/**
 * One turn of receiving in a room, for which the caller has the room exclusively. Events are queued for writing one after the other and
 * not waited for, so that many are one commit; each is judged by what those before it left. What cannot be known of events that are not
 * committed (the resolution of forks, rules of the room) waits for them.
 */
export class ReceivingTurn {
  readonly room: Room;
  /** Reads events, those on their way included. */
  readonly loader: Pick<EventLoader, 'load'>;
  readonly around: ReceivedStates;
  readonly #options: ReceivingTurnOptions;
  /** By event id. */
  readonly #places = new Map<string, Place>();
  /** Those of other rooms. */
  readonly #inOtherRooms = new Set<string>();
  readonly #asked = new Set<string>();
  readonly #events = new Map<number, StoredEvent>();
  readonly #chains = new Map<number, StateChain>();
  readonly #members = new Map<string, Member>();
  #written: Promise<void>[] = [];
  #mustSettle = false;

  readonly #flush: () => void;

  /** @param flush has what was queued written, where that does not happen by itself */
  constructor(options: ReceivingTurnOptions, room: Room, flush: () => void = () => undefined) {
    this.#flush = flush;
    this.room = room;
    this.#options = options;
    this.loader = { load: (places) => this.#load(places) };
    const { merger } = options;
    this.around = new ReceivedStates({
      states: { load: (ids) => this.#loadStates(ids) },
      merger: {
        changes: (from, to) => merger.changes(from, to),
        resolve: async (of, states, fresh) => {
          await this.settle();
          return merger.resolve(of, states, fresh);
        },
      },
    });
  }

  /** Finds out where events lie, all in one statement. */
  async lookUp(ids: readonly string[]): Promise<void> {
    const unknown = [...new Set(ids)].filter((id) => !this.#asked.has(id) && !this.#places.has(id));
    if (unknown.length === 0) return;
    for (const id of unknown) this.#asked.add(id);
    const { room } = this;
    const found = await positionsById(this.#options.database, unknown.map(eventIdBytes));
    for (const { event_id: bytes, nid, room: roomNid, flags } of found) {
      // Events of other rooms are as good as unknown: naming them is an error, and they are never served from here.
      if (roomNid === room.nid) this.#places.set(eventIdText(room.version, bytes), { nid, flags });
      else this.#inOtherRooms.add(bytes.toString('latin1'));
    }
  }

  /** Where an event of the room lies that was looked up; undefined when it is not here. */
  place(eventId: string): Place | undefined {
    return this.#places.get(eventId);
  }

  /** Whether an event that was looked up is known to be in another room. What is in no room yet may come to this one. */
  isInOtherRoom(eventId: string): boolean {
    return this.#inOtherRooms.has(eventIdBytes(eventId).toString('latin1'));
  }

  /** Events of the room by position, in the same order; what is not there is left out. */
  async events(nids: readonly number[]): Promise<StoredEvent[]> {
    const { room } = this;
    const loaded = await this.#load(nids.map((nid) => ({ room, nid })));
    return nids.map((nid) => loaded.get(nid)).filter((event) => event !== undefined);
  }

  /** The room's `m.room.create`. Since v12 its id is known before the room's state is. */
  async create(): Promise<StoredEvent | undefined> {
    const { room } = this;
    const current = room.stateEvent('m.room.create');
    if (current !== undefined || !room.version.roomIdIsCreateHash) return current;
    const eventId = createEventIdOf(room.roomId);
    await this.lookUp([eventId]);
    const place = this.place(eventId);
    return place === undefined ? undefined : (await this.events([place.nid]))[0];
  }

  /** Whether an event is not committed yet. */
  isOnItsWay(nid: number): boolean {
    return this.#events.has(nid);
  }

  /** The entries of a state that is told by ids; of two for the same key the later one counts. */
  async entriesOf(ids: readonly string[]): Promise<StateEntries> {
    const bytes = ids.map(eventIdBytes);
    const rows = await stateEntriesById(this.#options.database, this.room.nid, bytes);
    const byId = new Map(rows.map((row) => [row.event_id.toString('latin1'), row]));
    const entries = bytes.flatMap((id) => byId.get(id.toString('latin1')) ?? []);
    return new Map(entries.map(({ skey, nid }) => [skey, nid]));
  }

  /** A user's membership after all that was queued. */
  member(userId: string): Member | undefined {
    return this.#members.get(userId) ?? this.room.member(userId);
  }

  /** Takes note of an event that was queued. */
  queued({ event, chains, members, changesMore, written }: QueuedEvent): void {
    this.#places.set(event.eventId, { nid: event.nid, flags: event.flags });
    this.#events.set(event.nid, event);
    for (const chain of chains) this.#chains.set(chain.nid, chain);
    for (const member of members) this.#members.set(member.userId, member);
    // The caller of `settle` gets the error.
    written.catch(() => undefined);
    this.#written.push(written);
    if (changesMore || this.#written.length >= MAX_PENDING) this.#mustSettle = true;
  }

  /** Waits for what the next event has to see committed. */
  async ready(): Promise<void> {
    if (this.#mustSettle) await this.settle();
  }

  /** Resolves when everything that was queued is committed. @throws what the database refused one of them for */
  async settle(): Promise<void> {
    this.#flush();
    const written = new Set(this.#written);
    this.#written = [];
    this.#mustSettle = false;
    const results = await Promise.allSettled(written);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    this.#events.clear();
    this.#chains.clear();
    this.#members.clear();
  }

  async #load(places: readonly EventPlace[]): Promise<Map<number, StoredEvent>> {
    const { extremities } = this.room.head;
    const found = new Map<number, StoredEvent>();
    const others: EventPlace[] = [];
    for (const place of places) {
      const event = this.#events.get(place.nid) ?? extremities.find(({ nid }) => nid === place.nid);
      if (event === undefined) others.push(place);
      else found.set(place.nid, event);
    }
    if (others.length === 0) return found;
    for (const [nid, event] of await this.#options.loader.load(others)) found.set(nid, event);
    return found;
  }

  async #loadStates(ids: Iterable<number>): Promise<Map<number, StateChain>> {
    const found = new Map<number, StateChain>();
    const others: number[] = [];
    for (const id of ids) {
      const chain = this.#chains.get(id);
      if (chain === undefined) others.push(id);
      else found.set(id, chain);
    }
    if (others.length === 0) return found;
    for (const [id, chain] of await this.#options.states.load(others)) found.set(id, chain);
    return found;
  }
}

export const isOutlier = ({ flags }: Place): boolean => (flags & EVENT_FLAGS.outlier) !== 0;

/** Outliers that came as such lie before all history; what lies in it and is one was purged, and does not come back by itself. */
export const isReplaceable = (place: Place): boolean => isOutlier(place) && place.nid < 0;
