import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import type { Pdu } from '#src/protocol/events/pdu.ts';
import type { EventPredicate, Relation } from '#src/protocol/filters/event-predicate.ts';
import { StepBudget } from '#src/protocol/matching/step-budget.ts';
import { foldText } from '#src/protocol/text/fold.ts';
import { gramHash } from '#src/protocol/text/grams.ts';
import { rankOf, type SearchQuery } from '#src/protocol/text/search-query.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { VisibleEvent } from '#src/services/reading/visibility/visible-event.ts';
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
const MAX_WALKED = 4_000;
/** Most candidates that are read at once, and for one page; where no more than the former are left, matches are counted, not estimated. */
const MAX_READ = 500;
export const MAX_EXAMINED = 4_000;
/** Bytes of events that are read at once. */
const MAX_BYTES_READ = 2 * 1024 * 1024;
/** Steps of a page: about one for each character of a text that is folded, and for some of those that are looked through. */
export const MAX_STEPS = 1_500_000;
/** Steps in one turn of the event loop: about two milliseconds. */
const STEPS_AT_ONCE = 50_000;

/**
 * The same for a page where nothing typed is long enough to be looked up, and every text is read: a rare character that was said long ago is
 * found within a few pages, or in the first one.
 */
export const MAX_SCANNED_TEXTS = 20_000;

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
  /** Says how many bytes a match adds to the answer, and whether it is full with it. */
  readonly fills: (match: SearchMatch) => boolean;
  /** Integers of senders and types, where that finds all that is wanted. */
  readonly senders: readonly number[] | undefined;
  readonly types: readonly number[] | undefined;
  readonly wanted: EventPredicate;
  readonly needsRelations: boolean;
  /** Whether `estimate` is wanted: it costs something. */
  readonly counts: boolean;
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
  /** Where to continue. */
  readonly end: SearchPlace;
  /** Nothing is left. */
  readonly isEnd: boolean;
  /** How many matches come before the place where the page began; about how many, when there are many. */
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
    const budget = new StepBudget(MAX_STEPS);
    let place = request.before;
    let examined = 0;
    let walks = true;
    const isLookedUp = query.grams.length > 0;
    const most = isLookedUp ? MAX_EXAMINED : MAX_SCANNED_TEXTS;
    let perRoom = Math.max(LEAST_GLANCE, Math.ceil((isLookedUp ? GLANCE : 2 * MAX_READ) / rooms.length));
    let size = Math.min(limit + 5, MAX_READ);
    let total: (() => Promise<number>) | undefined;
    while (examined < most && !budget.isSpent) {
      const next = await this.#candidates(request, rooms, place, size, walks ? perRoom : undefined);
      total ??= next.total;
      if (isLookedUp) walks = false;
      // Where most texts are in few of the rooms, as many of each room lead not far enough.
      else if (2 * next.list.length < size) perRoom = Math.min(2 * perRoom, MAX_READ);
      const stopAt = until === undefined ? -1 : next.list.findIndex((candidate) => isBefore(candidate, until));
      const list = stopAt < 0 ? next.list : next.list.slice(0, stopAt);
      for (let at = 0; at < list.length && !budget.isSpent;) {
        const found = await this.#verify(request, list.slice(at), budget);
        for (const match of found) {
          const candidate = list[at];
          at += 1;
          examined += 1;
          if (candidate !== undefined) place = { ts: candidate.ts, event: candidate.event };
          if (match === undefined) continue;
          matches.push(match);
          if (!request.fills(match) && matches.length < limit) continue;
          const isEnd = next.isEnd && at === next.list.length;
          const seen = { matches: matches.length, examined, total: await total() };
          const estimate =
            isEnd || !request.counts ? seen.matches : await this.#count(request, rooms, place, seen, budget);
          return { matches, end: place, isEnd, estimate };
        }
      }
      if (budget.isSpent) break;
      if (stopAt >= 0 && until !== undefined) return { matches, end: until, isEnd: false, estimate: matches.length };
      if (next.isEnd) return { matches, end: OLDEST, isEnd: true, estimate: matches.length };
      // Many rooms with nothing in them still cost a look each.
      examined += isLookedUp ? 0 : 1;
      place = next.end;
      size = MAX_READ;
    }
    return { matches, end: place, isEnd: false, estimate: matches.length };
  }

  /** How many matches there are: those that were seen, and those after a place, counted where there are few candidates. */
  async #count(
    request: SearchPageRequest,
    rooms: readonly SearchedRoom[],
    place: SearchPlace,
    seen: { readonly matches: number; readonly examined: number; readonly total: number },
    budget: StepBudget,
  ): Promise<number> {
    const estimate = Math.max(seen.matches, Math.round((seen.matches / seen.examined) * seen.total));
    if (seen.total > 2 * MAX_READ) return estimate;
    const perRoom = request.query.grams.length > 0 ? undefined : MAX_READ;
    const rest = await this.#candidates(request, rooms, place, MAX_READ, perRoom);
    if (!rest.isEnd) return estimate;
    let { examined, matches } = seen;
    for (let at = 0; at < rest.list.length && !budget.isSpent;) {
      const found = await this.#verify(request, rest.list.slice(at), budget);
      at += found.length;
      examined += found.length;
      matches += found.filter((match) => match !== undefined).length;
    }
    return Math.round((matches / examined) * (seen.examined + rest.list.length));
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
      // Newest texts may be all of one room, in which it is said less often than in others.
      let longer = Math.ceil((2 * limit * glance.scanned) / glance.matching);
      while (longer <= MAX_WALKED && (glance.floor !== undefined || longer * rooms.length <= MAX_WALKED)) {
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

  /**
   * Of as many of the first candidates as the budget allows, of one at least, the matches, each in its place. Other work has its turn in
   * between.
   */
  async #verify(
    request: SearchPageRequest,
    candidates: readonly SearchCandidate[],
    budget: StepBudget,
  ): Promise<(SearchMatch | undefined)[]> {
    const taken = firstBytes(candidates, MAX_BYTES_READ);
    const rooms = await this.#rooms.load(taken.map((candidate) => candidate.room));
    const places = taken.flatMap(({ room: nid, event }) => {
      const room = rooms.get(nid);
      return room === undefined || room.isEncrypted ? [] : [{ room, nid: event }];
    });
    const { ranks, stoppedAt } =
      request.query.grams.length > 0
        ? await this.#rankEvents(request.query, places, budget)
        : await this.#rankTexts(request.query, places, budget);
    const events = await this.#loader.load(places.filter(({ nid }) => ranks.has(nid)));
    const found = new Map<number, SearchMatch>();
    const byRoom = Map.groupBy(
      places.flatMap(({ nid }) => events.get(nid) ?? []),
      (event) => event.room.nid,
    );
    for (const [nid, inRoom] of byRoom) {
      const room = rooms.get(nid);
      if (room === undefined) continue;
      const visible = await this.#visible(request.userId, room, await this.#wanted(request, room, inRoom));
      for (const one of visible) {
        const { nid: event, ts } = one.event;
        // Readers who may not see its content must not find it by that.
        if (one.isReduced === true && !answers(request.query, one.event)) continue;
        found.set(event, { room, visible: one, rank: ranks.get(event) ?? 0, ts, event });
      }
    }
    const examined =
      stoppedAt === undefined
        ? taken
        : taken.slice(
            0,
            taken.findIndex(({ event }) => event === stoppedAt),
          );
    return examined.map(({ event }) => found.get(event));
  }

  /** Ranks events that answer, most likely: they are wanted as events. */
  async #rankEvents(query: SearchQuery, places: readonly TextPlace[], budget: StepBudget): Promise<Ranks> {
    const events = await this.#loader.load(places);
    const texts = places.flatMap(({ nid }) => {
      const event = events.get(nid);
      return event === undefined ? [] : [{ nid, text: () => searchableText(event.type, event.content) }];
    });
    return rankAll(query, texts, budget);
  }

  /** Ranks many texts of which few answer: only those become events, so that the others do not push out what is in use. */
  async #rankTexts(query: SearchQuery, places: readonly TextPlace[], budget: StepBudget): Promise<Ranks> {
    const read = await textsOf(
      this.#database,
      places.map(({ room, nid }) => ({ room: room.nid, nid })),
    );
    const byNid = new Map(read.map(({ nid, json }) => [nid, json]));
    const texts = places.flatMap(({ nid }) => {
      const json = byNid.get(nid);
      if (json === undefined) return [];
      const text = (): string => {
        const { type, content } = JSON.parse(json) as Pick<Pdu, 'type' | 'content'>;
        return searchableText(type, content);
      };
      return [{ nid, text }];
    });
    return rankAll(query, texts, budget);
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

interface TextPlace {
  readonly room: Room;
  readonly nid: number;
}

interface Ranks {
  /** Of those that answer. */
  readonly ranks: ReadonlyMap<number, number>;
  /** The first one that the budget did not allow to look at. */
  readonly stoppedAt: number | undefined;
}

/** Looks through texts until the budget is spent; through one at least. */
const rankAll = async (
  query: SearchQuery,
  texts: readonly { readonly nid: number; readonly text: () => string }[],
  budget: StepBudget,
): Promise<Ranks> => {
  const ranks = new Map<number, number>();
  const loopYield = new LoopYield(STEPS_AT_ONCE);
  for (const [index, { nid, text }] of texts.entries()) {
    if (index > 0 && budget.isSpent) return { ranks, stoppedAt: nid };
    const folded = foldText(text());
    const rank = rankOf(folded, query);
    if (rank > 0) ranks.set(nid, rank);
    const steps = 50 + Math.ceil(folded.length * (1 + query.terms.length / 8));
    budget.spend(steps);
    await loopYield.after(steps);
  }
  return { ranks, stoppedAt: undefined };
};

/** As many of the first candidates as have so many bytes together; one at least. */
const firstBytes = (candidates: readonly SearchCandidate[], most: number): readonly SearchCandidate[] => {
  let bytes = 0;
  const end = candidates.findIndex((candidate, index) => (bytes += candidate.bytes) > most && index > 0);
  return end < 0 ? candidates : candidates.slice(0, end);
};

const answers = (query: SearchQuery, { type, content }: StoredEvent): boolean =>
  rankOf(foldText(searchableText(type, content)), query) > 0;
