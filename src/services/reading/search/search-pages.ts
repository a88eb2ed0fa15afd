import type { Pdu } from '#src/protocol/events/pdu.ts';
import type { EventPredicate, Relation } from '#src/protocol/filters/event-predicate.ts';
import { foldText } from '#src/protocol/text/fold.ts';
import { gramHash } from '#src/protocol/text/grams.ts';
import { rankOf, type SearchQuery } from '#src/protocol/text/search-query.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { EventVisibility, VisibleEvent } from '#src/services/reading/visibility/event-visibility.ts';
import type { Database } from '#src/storage/database.ts';
import { relationsTo } from '#src/storage/reading/relation-senders.ts';
import {
  eventsInRooms,
  lookUpSearchDocs,
  type SearchCandidate,
  type SearchedRoom,
  type SearchPlace,
  textsOf,
  type Walk,
  walkSearchDocs,
} from '#src/storage/reading/search.ts';
import type { SearchableRoom } from './search-scope.ts';
import { searchableText } from './searchable-text.ts';

/** Texts that are looked through at first, in all rooms together, and in each at least. */
const GLANCE = 500;
const LEAST_GLANCE = 5;
/** Texts of a room that are looked through where a glance shows that this will do. */
const MOST_WALKED = 4_000;
/** Most candidates that are read at once, and for one page. */
const MOST_READ = 500;
const MOST_EXAMINED = 4_000;

/**
 * The same for a page where nothing typed is long enough to be looked up, and every text is read: a rare character that was said long ago is
 * found within a few pages, or in the first one.
 */
const MOST_LEAFED_THROUGH = 20_000;

/** After every event. */
export const NEWEST: SearchPlace = { ts: Number.MAX_SAFE_INTEGER, event: Number.MAX_SAFE_INTEGER };
/** Before every event. */
const OLDEST: SearchPlace = { ts: -Number.MAX_SAFE_INTEGER, event: -Number.MAX_SAFE_INTEGER };

export const isBefore = (one: SearchPlace, other: SearchPlace): boolean =>
  one.ts < other.ts || (one.ts === other.ts && one.event < other.event);

export interface SearchPageRequest {
  readonly userId: string;
  readonly query: SearchQuery;
  readonly scope: readonly SearchableRoom[];
  readonly before: SearchPlace;
  /** Where to stop at the latest; what stands there is taken. */
  readonly until: SearchPlace | undefined;
  readonly limit: number;
  /** Integers of senders and types, where that finds all that is wanted. */
  readonly senders: readonly number[] | undefined;
  readonly types: readonly number[] | undefined;
  readonly wanted: EventPredicate;
  readonly needsRelations: boolean;
}

/** An event that was searched for. */
export interface SearchMatch extends SearchPlace {
  readonly room: Room;
  readonly visible: VisibleEvent;
  readonly rank: number;
}

export interface SearchPage {
  /** Newest first. */
  readonly matches: readonly SearchMatch[];
  /** Where to go on. */
  readonly end: SearchPlace;
  /** Nothing is left. */
  readonly isEnd: boolean;
  /** About how many matches come before the place where the page began. */
  readonly estimate: number;
}

interface Candidates {
  readonly list: readonly SearchCandidate[];
  readonly end: SearchPlace;
  readonly isEnd: boolean;
  /** About how many candidates there are in all. */
  readonly total: () => Promise<number>;
}

/** Finds the newest events that answer a query and that a user may see. */
export class SearchPages {
  readonly #database: Database;
  readonly #rooms: RoomRegistry;
  readonly #loader: EventLoader;
  readonly #visibility: EventVisibility;

  constructor(options: {
    readonly database: Database;
    readonly rooms: RoomRegistry;
    readonly loader: EventLoader;
    readonly visibility: EventVisibility;
  }) {
    this.#database = options.database;
    this.#rooms = options.rooms;
    this.#loader = options.loader;
    this.#visibility = options.visibility;
  }

  async read(request: SearchPageRequest): Promise<SearchPage> {
    const { query, scope, limit, until } = request;
    const matches: SearchMatch[] = [];
    if (scope.length === 0 || query.terms.length === 0) return { matches, end: OLDEST, isEnd: true, estimate: 0 };
    if (limit <= 0) return { matches, end: request.before, isEnd: false, estimate: 0 };
    const rooms = scope.map(({ room, upTo }) => ({
      room,
      upTo,
      grams: query.grams.map((gram) => gramHash(room, gram)),
    }));
    let place = request.before;
    let examined = 0;
    let walks = true;
    const isLookedUp = query.grams.length > 0;
    const most = isLookedUp ? MOST_EXAMINED : MOST_LEAFED_THROUGH;
    let perRoom = Math.max(LEAST_GLANCE, Math.ceil((isLookedUp ? GLANCE : 2 * MOST_READ) / rooms.length));
    let size = Math.min(limit + 5, MOST_READ);
    let total: (() => Promise<number>) | undefined;
    while (examined < most) {
      const next = await this.#candidates(request, rooms, place, size, walks ? perRoom : undefined);
      total ??= next.total;
      if (isLookedUp) walks = false;
      // Where most texts are in few of the rooms, as many of each room lead not far enough.
      else if (2 * next.list.length < size) perRoom = Math.min(2 * perRoom, MOST_READ);
      const stopAt = until === undefined ? -1 : next.list.findIndex((candidate) => isBefore(candidate, until));
      const list = stopAt < 0 ? next.list : next.list.slice(0, stopAt);
      const found = await this.#verify(request, list);
      for (const [index, candidate] of list.entries()) {
        examined += 1;
        const match = found[index];
        if (match === undefined) continue;
        matches.push(match);
        if (matches.length < limit) continue;
        const ratio = matches.length / examined;
        return {
          matches,
          end: { ts: candidate.ts, event: candidate.event },
          isEnd: next.isEnd && index === next.list.length - 1,
          estimate: Math.max(matches.length, Math.round(ratio * (await total()))),
        };
      }
      if (stopAt >= 0 && until !== undefined) return { matches, end: until, isEnd: false, estimate: matches.length };
      if (next.isEnd) return { matches, end: OLDEST, isEnd: true, estimate: matches.length };
      // Many rooms with nothing in them still cost a look each.
      examined += isLookedUp ? 0 : 1;
      place = next.end;
      size = MOST_READ;
    }
    return { matches, end: place, isEnd: false, estimate: matches.length };
  }

  /**
   * What is said often is met among the newest texts, what is said seldom in the index: a glance at the newest texts of all rooms
   * tells which of the two it is.
   */
  async #candidates(
    request: SearchPageRequest,
    rooms: readonly SearchedRoom[],
    before: SearchPlace,
    limit: number,
    perRoom: number | undefined,
  ): Promise<Candidates> {
    const { senders, types, query } = request;
    const common = { rooms, before, senders, types, limit };
    if (perRoom !== undefined) {
      const glance = await walkSearchDocs(this.#database, common, perRoom);
      const total = (): Promise<number> => this.#estimate(rooms, glance);
      if (glance.candidates.length === limit || glance.horizon === undefined || query.grams.length === 0)
        return this.#walked(glance, limit, total);
      // Newest texts may be all of one room, in which it is said less often than elsewhere.
      let longer = Math.ceil((2 * limit * glance.scanned) / glance.matching);
      while (longer <= MOST_WALKED && (glance.floor !== undefined || longer * rooms.length <= MOST_WALKED)) {
        const walk = await walkSearchDocs(this.#database, common, Math.max(longer, perRoom), glance.floor);
        if (walk.candidates.length === limit) return this.#walked(walk, limit, total);
        longer *= 4;
      }
    }
    const { candidates: list, total } = await lookUpSearchDocs(this.#database, common);
    return { list, end: list.at(-1) ?? OLDEST, isEnd: list.length < limit, total: async () => total };
  }

  #walked({ candidates: list, horizon }: Walk, limit: number, total: () => Promise<number>): Candidates {
    const last = list.length === limit ? list.at(-1) : undefined;
    return { list, end: last ?? horizon ?? OLDEST, isEnd: last === undefined && horizon === undefined, total };
  }

  async #estimate(rooms: readonly SearchedRoom[], { horizon, matching, scanned }: Walk): Promise<number> {
    if (horizon === undefined) return matching;
    const nids = rooms.map(({ room }) => room);
    return Math.round((matching / Math.max(1, scanned)) * (await eventsInRooms(this.#database, nids)));
  }

  /** The candidates that are matches, each in its place. */
  async #verify(
    request: SearchPageRequest,
    candidates: readonly SearchCandidate[],
  ): Promise<(SearchMatch | undefined)[]> {
    const rooms = await this.#rooms.load(candidates.map((candidate) => candidate.room));
    const found = new Map<number, SearchMatch>();
    const all = candidates.flatMap(({ room: nid, event }) => {
      const room = rooms.get(nid);
      return room === undefined || room.isEncrypted ? [] : [{ room, nid: event }];
    });
    const places = request.query.grams.length > 0 ? all : await this.#answering(request.query, all);
    const events = await this.#loader.load(places);
    const ranks = new Map<number, number>();
    const byRoom = new Map<Room, StoredEvent[]>();
    for (const { room, nid } of places) {
      const event = events.get(nid);
      if (event === undefined) continue;
      const rank = rankOf(foldText(searchableText(event.type, event.content)), request.query);
      if (rank === 0) continue;
      ranks.set(nid, rank);
      byRoom.set(room, [...(byRoom.get(room) ?? []), event]);
    }
    for (const [room, inRoom] of byRoom) {
      const visible = await this.#visible(request.userId, room, await this.#wanted(request, room, inRoom));
      for (const one of visible) {
        const { nid, ts } = one.event;
        found.set(nid, { room, visible: one, rank: ranks.get(nid) ?? 0, ts, event: nid });
      }
    }
    return candidates.map(({ event }) => found.get(event));
  }

  /** Of many texts those that answer: only they become events, so that the others do not push out what is in use. */
  async #answering<Place extends { readonly room: Room; readonly nid: number }>(
    query: SearchQuery,
    places: readonly Place[],
  ): Promise<Place[]> {
    const wanted = places.map(({ room, nid }) => ({ room: room.nid, nid }));
    const found = new Set<number>();
    for (const { nid, json } of await textsOf(this.#database, wanted)) {
      const { type, content } = JSON.parse(json) as Pick<Pdu, 'type' | 'content'>;
      if (rankOf(foldText(searchableText(type, content)), query) > 0) found.add(nid);
    }
    return places.filter(({ nid }) => found.has(nid));
  }

  async #wanted(request: SearchPageRequest, room: Room, events: readonly StoredEvent[]): Promise<StoredEvent[]> {
    const relations = new Map<number, Relation[]>();
    if (request.needsRelations) {
      const nids = events.map((event) => event.nid);
      for (const { target, sender, rel_type: relType } of await relationsTo(this.#database, room.nid, nids))
        relations.set(target, [...(relations.get(target) ?? []), { sender, relType }]);
    }
    return events.filter(({ nid, type, sender, content }) =>
      request.wanted({ type, sender, content, room_id: room.roomId }, relations.get(nid)),
    );
  }

  /** "It won't include events in rooms that happened after you left", nor anything of rooms that the user never joined. */
  async #visible(userId: string, room: Room, events: readonly StoredEvent[]): Promise<VisibleEvent[]> {
    const member = room.member(userId);
    if (member === undefined || events.length === 0) return [];
    const until = await this.#visibility.past.joinedUntil(room, member);
    return this.#visibility.visibleTo(
      room,
      userId,
      events.filter((event) => event.nid < until),
    );
  }
}
