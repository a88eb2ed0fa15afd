import { HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { LRUCache } from 'lru-cache';
import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import { firstIndex } from '#src/kernel/first-index.ts';
import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import { redactionTarget } from '#src/protocol/events/pdu.ts';
import type { Appended, RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { type RelatedRecord, relatedEvents } from '#src/storage/reading/relation-reads.ts';
import { byPlace, REL, type RelatedEvent, relatedEvent } from './related-events.ts';

/** How many related events (and events that nothing relates to) are kept in memory. */
const CACHED = 200_000;
/** What relates to one event, the newest: earlier ones are not known to. */
export const MAX_OF_EVENT = 20_000;
/** Relations that are read for one caller: to the events beyond them, nothing is known to relate. */
export const MAX_READ = 100_000;
/** Events whose relations are read together where there are very many: as many as are sure not to be too many. */
const LARGE_TOGETHER = MAX_READ / MAX_OF_EVENT;
/** Relations that are added in one turn of the event loop. */
const IN_A_TURN = 5_000;
const NO_RELATIONS: readonly RelatedEvent[] = [];

/** What is known of a room. */
interface Horizon {
  /** Relations to events after this position were all seen by this process: where there is no entry, there is none. */
  floor: number;
  newest: number;
  /** Counts the changes of relations. */
  version: number;
}

/** What relates to one event. */
interface Entry {
  readonly room: number;
  readonly horizon: Horizon;
  /** Position of the event that is related to; undefined when it was not at hand. */
  readonly nid: number | undefined;
  /** In topological order. */
  readonly related: RelatedEvent[];
  /** Everything is there. Otherwise the database has to be asked first. */
  isComplete: boolean;
}

/** Something of the room was redacted while entries were read: what was read may be what was redacted. */
interface Loading {
  readonly room: number;
  readonly entry: Entry;
  isStale: boolean;
}

/** An event whose relations are wanted. */
export interface RelationTarget {
  readonly room: Room;
  readonly event: Pick<StoredEvent, 'nid' | 'eventId'>;
}

/**
 * The index of relations between events. It listens to commits; only what was there before is read, for many events in one
 * statement, and stays in memory. For timelines of new events that nothing relates to, this costs nothing at all.
 */
export class RelationIndex {
  readonly #database: Database;
  readonly #interner: Interner;
  readonly #horizons = new WeakMap<Room, Horizon>();
  readonly #entries = new CountedCache<string, Entry>(
    'relations',
    {
      maxSize: CACHED,
      sizeCalculation: ({ related }) => 1 + related.length,
      dispose: (entry, eventId, reason) => this.#dropped(entry, eventId, reason),
    },
    'parts',
  );
  /** Room -> ids of its events with entries that are not empty. */
  readonly #targets = new Map<number, Set<string>>();
  /** Id of an event in an entry -> id of the event that the entry is of: what was redacted is found by it. */
  readonly #targetOf = new Map<string, string>();
  readonly #loading = new Map<string, Loading>();

  constructor(options: { readonly database: Database; readonly interner: Interner; readonly stream: RoomEventStream }) {
    this.#database = options.database;
    this.#interner = options.interner;
    const { stream } = options;
    stream.on('appended', (appended) => {
      this.#onAppended(appended);
    });
    stream.on('revealed', ({ room }) => {
      this.#forget(room);
    });
    stream.on('purged', ({ room }) => {
      this.#forget(room);
    });
    stream.on('restored', ({ room }) => {
      this.#forget(room);
    });
    stream.on('deleted', ({ room }) => {
      this.#forget(room);
    });
  }

  /** Changes whenever a relation in the room came or went. */
  version(room: Room): number {
    return this.#horizon(room).version;
  }

  /** The position of an event that something relates to, if it is at hand. */
  positionOf(eventId: string): number | undefined {
    return this.#entries.get(eventId)?.nid;
  }

  /** Keeps the position of an event at hand, and what relates to it: more is likely to come. */
  async watch(room: Room, event: RelationTarget['event']): Promise<void> {
    const related = await this.of(room, event);
    if (related.length > 0 || this.#entries.has(event.eventId)) return;
    this.#keep(event.eventId, {
      room: room.nid,
      horizon: this.#horizon(room),
      nid: event.nid,
      related: [],
      isComplete: true,
    });
  }

  /** Forgets what is known of a room, that nothing relates to an event included. */
  #forget(room: Room): void {
    const { newest, version } = this.#horizon(room);
    // Entries are worth what their horizon is.
    this.#horizons.set(room, { floor: newest, newest, version: version + 1 });
    for (const eventId of this.#targets.get(room.nid) ?? []) this.#entries.delete(eventId);
    this.#targets.delete(room.nid);
    for (const loading of this.#loading.values()) if (loading.room === room.nid) loading.isStale = true;
  }

  /** What relates to one event, in topological order. */
  async of(room: Room, event: RelationTarget['event']): Promise<readonly RelatedEvent[]> {
    return (await this.all([{ room, event }])).get(event.nid) ?? NO_RELATIONS;
  }

  /** Whether an event has replies in a thread. */
  async hasReplies(room: Room, root: RelationTarget['event']): Promise<boolean> {
    return (await this.of(room, root)).some(({ relType }) => relType === REL.thread);
  }

  /** What relates to these events, by their positions; events that nothing relates to are left out. One statement at most, often none. */
  async all(wanted: readonly RelationTarget[]): Promise<ReadonlyMap<number, readonly RelatedEvent[]>> {
    const found = new Map<number, readonly RelatedEvent[]>();
    let missing: RelationTarget[] = [];
    for (const target of wanted) {
      const known = this.#known(target);
      if (known === undefined) missing.push(target);
      else if (known.length > 0) found.set(target.event.nid, known);
    }
    while (missing.length > 0) {
      const again: RelationTarget[] = [];
      for (const [target, related] of await this.#read(missing)) {
        if (related === undefined) again.push(target);
        else if (related.length > 0) found.set(target.event.nid, related);
      }
      missing = again;
    }
    return found;
  }

  #horizon(room: Room): Horizon {
    let horizon = this.#horizons.get(room);
    if (horizon === undefined) {
      horizon = { floor: room.lastPosition, newest: room.lastPosition, version: 0 };
      this.#horizons.set(room, horizon);
    }
    return horizon;
  }

  /** Undefined when the database has to be asked. */
  #known({ room, event }: RelationTarget): readonly RelatedEvent[] | undefined {
    const horizon = this.#horizon(room);
    const entry = this.#entries.get(event.eventId);
    // Another room's entry was made for an event that says that it relates to this one.
    if (entry !== undefined && entry.room !== room.nid) return undefined;
    if (entry?.horizon === horizon) return entry.isComplete ? entry.related : undefined;
    return event.nid > horizon.floor ? NO_RELATIONS : undefined;
  }

  /** Reads what relates to events; undefined for those where it changed so that it must be read again. */
  async #read(
    targets: readonly RelationTarget[],
  ): Promise<readonly (readonly [RelationTarget, readonly RelatedEvent[] | undefined])[]> {
    const loads = targets.map(({ room, event }): Loading => {
      const horizon = this.#horizon(room);
      const entry: Entry = { room: room.nid, horizon, nid: event.nid, related: [], isComplete: false };
      return { room: room.nid, entry, isStale: false };
    });
    // Registered for #onCommitted while it is read: a commit in the meantime is in one of the two, or in both. A caller that reads the same
    // event at the same time takes over; the earlier reader's entry does not hear any more, and is not kept.
    for (const [index, { event }] of targets.entries()) this.#loading.set(event.eventId, loads[index] as Loading);
    const current = (index: number): boolean => this.#loading.get(targets[index]?.event.eventId ?? '') === loads[index];
    try {
      const { records, read } = await this.#records(targets);
      const names = await this.#interner.named({
        users: records.map((record) => record.sender),
        types: records.flatMap((record) => [record.type, record.rel_type]),
      });
      const byTarget = Map.groupBy(records, (record) => record.target);
      const loopYield = new LoopYield(IN_A_TURN);
      const answers: (readonly [RelationTarget, readonly RelatedEvent[] | undefined])[] = [];
      for (const [index, target] of targets.entries()) {
        const { room, event } = target;
        const { entry, isStale } = loads[index] as Loading;
        const found = byTarget.get(event.nid) ?? [];
        if (isStale && index < read) {
          answers.push([target, undefined]);
          continue;
        }
        const heard = new Set(entry.related.map((one) => one.nid));
        for (const record of found) {
          // What is not published yet is heard of in a moment.
          if (heard.has(record.nid) || record.nid > room.lastPosition) continue;
          entry.related.push(relatedEvent(record, room, names));
        }
        entry.related.sort(byPlace);
        entry.isComplete = index < read;
        if (entry.isComplete && current(index)) this.#keep(event.eventId, entry);
        answers.push([target, entry.related]);
        const turn = loopYield.after(found.length);
        // oxlint-disable-next-line eslint/no-await-in-loop
        if (turn !== undefined) await turn;
      }
      return answers;
    } finally {
      for (const [index, { event }] of targets.entries()) if (current(index)) this.#loading.delete(event.eventId);
    }
  }

  /** @returns what relates to the first ones of these events, and to how many of them: to all, unless that is very much */
  async #records(
    targets: readonly RelationTarget[],
  ): Promise<{ readonly records: readonly RelatedRecord[]; readonly read: number }> {
    const places = targets.map(({ room, event }) => ({ room: room.nid, nid: event.nid }));
    const most = { ofEvent: MAX_OF_EVENT, ofAll: MAX_READ + 1 };
    let records: readonly RelatedRecord[] = await relatedEvents(this.#database, places, most);
    let read = targets.length;
    if (records.length <= MAX_READ) return { records, read };
    records = [];
    for (read = 0; read < targets.length && records.length < MAX_READ; read += LARGE_TOGETHER) {
      const part = places.slice(read, read + LARGE_TOGETHER);
      // One after the other: whether more are read is known by these.
      // oxlint-disable-next-line eslint/no-await-in-loop
      records = [...records, ...(await relatedEvents(this.#database, part, most))];
    }
    return { records, read };
  }

  #keep(eventId: string, entry: Entry): void {
    const isKnown = this.#entries.peek(eventId) === entry;
    this.#entries.set(eventId, entry);
    if (entry.related.length === 0) return;
    // Of an entry that is here already, the index knows all but what its caller adds.
    if (!isKnown && this.#entries.has(eventId))
      for (const related of entry.related) this.#targetOf.set(related.eventId, eventId);
    const targets = this.#targets.get(entry.room) ?? new Set();
    this.#targets.set(entry.room, targets.add(eventId));
  }

  #dropped(entry: Entry, eventId: string, reason: LRUCache.DisposeReason): void {
    for (const related of entry.related) this.#unlist(related, eventId);
    if (reason !== 'evict') return;
    this.#targets.get(entry.room)?.delete(eventId);
    // Without an entry, nothing would seem to relate to it.
    if (entry.isComplete && entry.related.length === 0) return;
    entry.horizon.floor = Math.max(entry.horizon.floor, entry.nid ?? entry.horizon.newest);
  }

  #unlist({ eventId }: RelatedEvent, targetId: string): void {
    if (this.#targetOf.get(eventId) === targetId) this.#targetOf.delete(eventId);
  }

  #onAppended({ room, events }: Appended): void {
    let horizon = this.#horizons.get(room);
    if (horizon === undefined) {
      const floor = (events[0]?.event.nid ?? 1) - 1;
      horizon = { floor, newest: floor, version: 0 };
      this.#horizons.set(room, horizon);
    }
    for (const { event, wasAwaited } of events) {
      if (wasAwaited === true) this.#awaited(room, horizon, event);
      horizon.newest = Math.max(horizon.newest, event.nid);
      if (event.type === 'm.room.redaction') this.#redacted(room, horizon, redactionTarget(room.version, event.pdu));
      const { relation } = event;
      if (relation === undefined || (event.flags & HIDDEN_FLAGS) !== 0) continue;
      horizon.version++;
      this.#related(room, horizon, relation.eventId, {
        nid: event.nid,
        topo: event.topo,
        eventId: event.eventId,
        ts: event.ts,
        sender: event.sender,
        type: event.type,
        relType: relation.relType,
        isState: event.stateKey !== undefined,
      });
    }
  }

  /** Events that came before it relate to it: they are read when they are needed. */
  #awaited(room: Room, horizon: Horizon, { nid, eventId }: RelationTarget['event']): void {
    horizon.version++;
    this.#targets.get(room.nid)?.delete(eventId);
    this.#keep(eventId, { room: room.nid, horizon, nid, related: [], isComplete: false });
  }

  #related(room: Room, horizon: Horizon, targetId: string, related: RelatedEvent): void {
    const loading = this.#loading.get(targetId);
    const found = this.#entries.peek(targetId);
    const isForgotten = found?.room === room.nid && found.horizon !== horizon;
    const known = isForgotten ? undefined : found;
    // Both events have to be in the same room: others do not relate to each other, whatever one of them says.
    if ([loading, known].some((one) => one !== undefined && one.room !== room.nid)) return;
    if (loading !== undefined) add(loading.entry.related, related);
    if (known !== undefined) {
      const oldest = add(known.related, related);
      this.#targetOf.set(related.eventId, targetId);
      if (oldest !== undefined) this.#unlist(oldest, targetId);
      this.#keep(targetId, known);
      return;
    }
    const target = room.ring.events.findLast((event) => event.eventId === targetId);
    // What is not after the floor is read when it is asked for.
    if (target !== undefined && target.nid <= horizon.floor) return;
    const isComplete = target !== undefined;
    this.#keep(targetId, { room: room.nid, horizon, nid: target?.nid, related: [related], isComplete });
  }

  /** What related to something may be what was redacted: then it is read again. */
  #redacted(room: Room, horizon: Horizon, eventId: string | undefined): void {
    for (const loading of this.#loading.values()) if (loading.room === room.nid) loading.isStale = true;
    const targetId = eventId === undefined ? undefined : this.#targetOf.get(eventId);
    const entry = targetId === undefined ? undefined : this.#entries.peek(targetId);
    if (entry?.room !== room.nid) return;
    horizon.version++;
    entry.isComplete = false;
  }
}

/**
 * Adds what is not there yet at its place, which is nearly always the last one.
 *
 * @returns what is beyond the bound since then: the earliest
 */
const add = (list: RelatedEvent[], related: RelatedEvent): RelatedEvent | undefined => {
  const at = firstIndex(list.length, (index) => byPlace(list[index]!, related) < 0);
  if (list[at]?.nid === related.nid) return undefined;
  list.splice(at, 0, related);
  return list.length > MAX_OF_EVENT ? list.shift() : undefined;
};
