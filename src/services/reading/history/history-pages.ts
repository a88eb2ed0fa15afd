import { FairGate } from '#src/kernel/limits/fair-gate.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import type { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { EventPredicate, Relation } from '#src/protocol/filters/event-predicate.ts';
import { needsRelations } from '#src/protocol/filters/event-predicate.ts';
import type { RoomEventFilter } from '#src/protocol/filters/filter.ts';
import type { TopologicalPosition } from '#src/protocol/wire/position.ts';
import { type IgnoredUsers, isIgnored } from '#src/services/user-data/account-data/ignored-users.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { VisibleEvent } from '#src/services/reading/visibility/visible-event.ts';
import type { Database } from '#src/storage/database.ts';
import { pageBack, pageForth } from '#src/storage/room-model/event-reads.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { relationsTo } from '#src/storage/reading/relation-senders.ts';
import type { HistoryPlace } from './history-tokens.ts';
import type { PastSource } from './past-source.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** Most rows that are read at once, first and then; where events are large, no more than first. */
const FIRST_BATCH = 128;
const MAX_BATCH = 500;
const LARGE_EVENT = 8 * 1024;
/** Bytes of events after which a page ends, unless `maxBytes` says otherwise. */
const DEFAULT_MAX_BYTES = 2 * 1024 * 1024;
/** Rows that are read in vain before an answer is given that says where to continue. */
export const MAX_SCANNED = 4000;

/** How often more of a room's history is fetched for one page. */
const MAX_FILLED = 3;
/** Pages that are read at once: each is in memory, and more of them would only wait for each other. Users take turns; so many of one may wait. */
export const CONCURRENCY = 4;
export const MAX_WAITING = 500;
/** For reading without fetching: only what is stored here. */
export const NO_PAST: PastSource = {
  isOpen: () => Promise.resolve(false),
  fill: () => Promise.resolve(false),
  find: () => Promise.resolve(false),
  nearest: () => Promise.resolve(undefined),
};

export interface PageRequest {
  readonly room: Room;
  readonly userId: string;
  readonly dir: 'b' | 'f';
  readonly from: TopologicalPosition;
  readonly upTo: number;
  /** Where to stop at the latest. */
  readonly stop: HistoryPlace | undefined;
  readonly limit: number;
  /** Bytes of events after which the page ends; those of every page, when left out. */
  readonly maxBytes?: number | undefined;
  /** Undefined when everything is wanted. */
  readonly wanted: EventPredicate | undefined;
  readonly filter: RoomEventFilter;
}

export interface HistoryPage {
  readonly events: readonly VisibleEvent[];
  /** Where to continue. */
  readonly end: TopologicalPosition;
  /** Nothing is left in this direction, or before the place where to stop. */
  readonly isEnd: boolean;
}

/** A page of what is stored here. */
interface StoredPage extends HistoryPage {
  /** It has as much as a page may have: what else there is comes with the next one. */
  readonly isFull: boolean;
}

/** Whether an event lies at or past the place where a page has to stop. */
export const isBeyond = (event: TopologicalPosition, stop: HistoryPlace, dir: 'b' | 'f'): boolean => {
  const isBefore = event.topo < stop.place.topo || (event.topo === stop.place.topo && event.nid < stop.place.nid);
  // A sync token says which events had arrived, not where they stand.
  const isOld = stop.upTo === Infinity ? isBefore : event.nid <= stop.upTo;
  return dir === 'b' ? isOld : !isOld;
};

/**
 * Reads a room's events in topological order: those that a filter wants and a user may see. "Once ignored, the client will no longer
 * receive events sent by that user, with the exception of state events." Client-Server API, "Ignoring Users".
 */
export class HistoryPages {
  readonly #database: Database;
  readonly #interner: Interner;
  readonly #loader: EventLoader;
  readonly #visibility: Pick<EventVisibility, 'visibleTo'>;
  readonly #ignoredUsers: Pick<IgnoredUsers, 'of'>;
  readonly #maxBytes: number;
  readonly #past: PastSource;
  readonly #reading = new FairGate({ concurrency: CONCURRENCY, maxWaiting: MAX_WAITING });

  constructor(options: {
    readonly database: Database;
    readonly interner: Interner;
    readonly loader: EventLoader;
    readonly visibility: Pick<EventVisibility, 'visibleTo'>;
    readonly ignoredUsers: Pick<IgnoredUsers, 'of'>;
    /** Bytes of events after which a page ends, however many were asked for. */
    readonly maxBytes?: number;
    readonly past?: PastSource;
  }) {
    this.#database = options.database;
    this.#maxBytes = options.maxBytes ?? DEFAULT_MAX_BYTES;
    this.#interner = options.interner;
    this.#loader = options.loader;
    this.#visibility = options.visibility;
    this.#ignoredUsers = options.ignoredUsers;
    this.#past = options.past ?? NO_PAST;
  }

  /** Bytes of events after which a page ends. */
  get maxBytes(): number {
    return this.#maxBytes;
  }

  /** A page. Backwards, what is missing of the room's history is fetched from other servers where the page comes to it. */
  async read(request: PageRequest): Promise<HistoryPage> {
    const { dir, from, limit, room } = request;
    // Asked before anything is read: another request may fetch what is missing meanwhile.
    const isOpen = dir === 'b' && limit > 0 && (await this.#past.isOpen(room));
    let filled = await this.#read(request);
    if (!isOpen) return filled;
    for (let round = 0; round < MAX_FILLED; round++) {
      const isComplete: boolean = filled.isFull;
      const range = { from: filled.isEnd || !isComplete ? 0 : filled.end.topo, to: from.topo };
      const isFilled = await this.#past.fill(room, range, request.userId);
      // Where the page came to its end, others may have fetched what follows while this one waited for them.
      if (isFilled || !isComplete || filled.isEnd) filled = await this.#read(request);
      if (!isFilled) break;
    }
    // "If no further events are available": events that are missing here exist on other servers.
    return filled.isEnd && (await this.#past.isOpen(room)) ? { ...filled, isEnd: false } : filled;
  }

  /** @throws MatrixError M_LIMIT_EXCEEDED when too many pages of the user wait */
  #read(request: PageRequest): Promise<StoredPage> {
    const place = { party: request.userId, isPreferred: false };
    return this.#reading.run(place, () => this.#readStored(request), tooMany);
  }

  async #readStored(request: PageRequest): Promise<StoredPage> {
    const { room, userId, dir, stop, limit } = request;
    const found: VisibleEvent[] = [];
    let place = request.from;
    if (limit <= 0) return { events: found, end: place, isEnd: false, isFull: true };
    const upTo = Math.min(request.upTo, Number.MAX_SAFE_INTEGER);
    const types = await this.#types(request.filter);
    const ignored = await this.#ignoredUsers.of(userId);
    // One more than asked for tells whether there is more.
    let batch = Math.min(request.wanted === undefined ? limit + 1 : 4 * limit + 1, FIRST_BATCH);
    const maxBytes = request.maxBytes ?? this.#maxBytes;
    let bytes = 0;
    for (let scanned = 0; scanned < MAX_SCANNED; scanned += batch) {
      const page = {
        room: room.nid,
        from: place,
        upTo,
        types,
        senders: undefined,
        limit: batch,
        // What the page has no room for is not read either.
        maxBytes: maxBytes - bytes,
      };
      const records = await (dir === 'b' ? pageBack : pageForth)(this.#database, page);
      const read = await this.#loader.adopt(records, () => room);
      const stopAt = stop === undefined ? -1 : read.findIndex((event) => isBeyond(event, stop, dir));
      const events = stopAt < 0 ? read : read.slice(0, stopAt);
      const isAll = records.length < batch && bytesOf(records) < page.maxBytes;
      const isLast = stopAt >= 0 || isAll;
      const heard = ignored.size === 0 ? events : events.filter((event) => !isIgnored(event, ignored));
      const visible = await this.#visibility.visibleTo(room, userId, await this.#matching(request, heard));
      for (const one of visible) {
        found.push(one);
        bytes += one.event.json.length;
        if (found.length < limit && bytes < maxBytes) continue;
        return {
          events: found,
          end: placeAfter(one.event, dir),
          isEnd: isAll && one.event === read.at(-1),
          isFull: true,
        };
      }
      const last = events.at(-1);
      if (last !== undefined) place = placeAfter(last, dir);
      if (isLast) return { events: found, end: place, isEnd: stopAt < 0 || found.length === 0, isFull: false };
      batch = bytes > found.length * LARGE_EVENT ? FIRST_BATCH : MAX_BATCH;
    }
    return { events: found, end: place, isEnd: false, isFull: false };
  }

  /** Types for the query, where that is sure to find all that the filter wants. */
  async #types({ types }: RoomEventFilter): Promise<number[] | undefined> {
    if (types === undefined || types.some((type) => type.includes('*'))) return undefined;
    const names = await this.#interner.find({ types });
    return types.flatMap((type) => names.peekType(type) ?? []);
  }

  async #matching(
    { room, wanted, filter }: PageRequest,
    events: readonly StoredEvent[],
  ): Promise<readonly StoredEvent[]> {
    if (wanted === undefined) return events;
    const relations = new Map<number, Relation[]>();
    if (needsRelations(filter) && events.length > 0) {
      for (const row of await relationsTo(
        this.#database,
        room.nid,
        events.map((event) => event.nid),
      )) {
        const relation = { sender: row.sender, relType: row.rel_type };
        relations.set(row.target, [...(relations.get(row.target) ?? []), relation]);
      }
    }
    return events.filter(({ nid, type, sender, content }) =>
      wanted({ type, sender, content, room_id: room.roomId }, relations.get(nid)),
    );
  }
}

const tooMany = (): MatrixError => limitExceeded('history_pages', 1_000);

/** As the database counts them. */
const bytesOf = (records: readonly { readonly json: string }[]): number =>
  records.reduce((sum, { json }) => sum + Buffer.byteLength(json), 0);

/** Tokens stand between two events: backwards before the event itself, forwards after it. */
export const placeAfter = (event: TopologicalPosition, dir: 'b' | 'f'): TopologicalPosition => ({
  topo: event.topo,
  nid: dir === 'b' ? event.nid : event.nid + 1,
});
