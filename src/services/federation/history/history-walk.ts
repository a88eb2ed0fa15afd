import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { referencedIds } from '#src/protocol/events/pdu.ts';
import { eventIdBytes, eventIdText } from '#src/services/room-model/event/event-ids.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { positionsById } from '#src/storage/room-model/event-positions.ts';

/** What is no part of a room's history: its place in it is not known, or it was rejected. */
const APART = EVENT_FLAGS.outlier | EVENT_FLAGS.rejected;
/** Events that are looked at in vain for one walk. */
export const MAX_LOOKED_AT = 500;

/** Walks through the history of rooms, from events to those that they come after. */
export class HistoryWalk {
  readonly #database: Database;
  readonly #loader: EventLoader;

  constructor(database: Database, loader: EventLoader) {
    this.#database = database;
    this.#loader = loader;
  }

  /** Events of a room by their ids, with what was rejected and outliers; others are left out. */
  async byId(room: Room, ids: readonly string[]): Promise<ReadonlyMap<string, StoredEvent>> {
    const places = await positionsById(this.#database, [...new Set(ids)].map(eventIdBytes));
    const own = places.filter((place) => place.room === room.nid);
    const events = await this.#loader.load(own.map(({ nid }) => ({ room, nid })));
    const found = new Map<string, StoredEvent>();
    for (const { event_id: bytes, nid } of own) {
      const event = events.get(nid);
      if (event !== undefined) found.set(eventIdText(room.version, bytes), event);
    }
    return found;
  }

  /**
   * Events before `latest`, the nearest first: those that lie deeper come before those that do not. What `earliest` are and come after is
   * left out. Rejected events are walked through and not given.
   *
   * @param isInclusive whether `latest` are given themselves
   */
  async back(
    room: Room,
    query: {
      readonly latest: readonly string[];
      readonly earliest: readonly string[];
      readonly limit: number;
      readonly minDepth: number;
      readonly isInclusive: boolean;
    },
  ): Promise<readonly StoredEvent[]> {
    const { limit, minDepth } = query;
    const ends = await this.byId(room, [...query.latest, ...query.earliest]);
    const seen = new Map<string, StoredEvent>();
    /** What `earliest` come after, themselves included. */
    const known = new Set(query.earliest);
    const open = new Set([...ends.keys()]);
    for (const [id, event] of ends) seen.set(id, event);
    const latest = new Set(query.latest);
    const found: StoredEvent[] = [];
    for (let looked = 0; looked < MAX_LOOKED_AT && found.length < limit; looked++) {
      const wanted = [...open].some((id) => !known.has(id));
      const next = wanted ? deepest(open, seen) : undefined;
      if (next === undefined) break;
      open.delete(next.eventId);
      const isKnown = known.has(next.eventId);
      const isGiven = !isKnown && (next.flags & APART) === 0 && (query.isInclusive || !latest.has(next.eventId));
      if (isGiven && next.topo >= minDepth) found.push(next);
      // What lies before an outlier is not known here.
      if ((next.flags & EVENT_FLAGS.outlier) !== 0 || next.topo < minDepth) continue;
      const before = referencedIds(next.pdu.prev_events);
      if (isKnown) for (const id of before) known.add(id);
      const unseen = before.filter((id) => !seen.has(id));
      for (const [id, event] of unseen.length === 0 ? [] : await this.byId(room, unseen)) {
        seen.set(id, event);
        open.add(id);
      }
    }
    return found;
  }
}

const deepest = (open: ReadonlySet<string>, seen: ReadonlyMap<string, StoredEvent>): StoredEvent | undefined => {
  let found: StoredEvent | undefined;
  for (const id of open) {
    const event = seen.get(id);
    if (event === undefined) continue;
    if (found === undefined || event.topo > found.topo || (event.topo === found.topo && event.nid > found.nid))
      found = event;
  }
  return found;
};
