import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { compileEventFilter, needsRelations } from '#src/protocol/filters/event-predicate.ts';
import type { RoomEventFilter } from '#src/protocol/filters/filter.ts';
import { NO_ROOM_EVENT_FILTER, parseRoomEventFilter } from '#src/protocol/filters/parse-filter.ts';
import { parseSearchQuery } from '#src/protocol/text/search-query.ts';
import { pageLimit } from '#src/kernel/limits/page-limit.ts';
import { MESSAGE } from '#src/protocol/events/event-types.ts';
import type { EventFollower } from '#src/services/events/stream/event-follower.ts';
import type { IgnoredUsers } from '#src/services/user-data/account-data/ignored-users.ts';
import type { ClientEvents, Reader } from '#src/services/reading/client-events/client-events.ts';
import type { RoomState } from '#src/services/reading/state/room-state.ts';
import type { Database } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { knownUsers } from '#src/storage/reading/search.ts';
import { MAX_AROUND, type SearchContext, type SearchContexts } from './search-context.ts';
import { isBefore, NEWEST } from './search-candidates.ts';
import type { SearchMatch } from './search-check.ts';
import type { SearchPage, SearchPageRequest, SearchPages } from './search-pages.ts';
import type { SearchScopes } from './search-scope.ts';
import { decodeSearchToken, encodeSearchToken, type SearchPosition } from './search-token.ts';
import { SEARCH_KEYS, type SearchKey, TYPE_OF_KEY } from './searchable-text.ts';

export const MAX_LIMIT = 500;
const PAGE = { usual: 10, greatest: MAX_LIMIT };
/** Events on a page, those around the results included: with many around each there are fewer results to a page. */
export const MAX_EVENTS = 1_500;
/** Characters. */
export const MAX_TERM_LENGTH = 5_000;
/** How long a search waits until what was sent before can be found. */
const MAX_WAIT_MS = 1_000;
/** What a membership weighs in a state, roughly. */
const MEMBER_BYTES = 700;
/** Results of which the surroundings are read at the same time. */
const AROUND_AT_ONCE = 4;
/** By rank, this many of the newest matches are sorted at a time. */
const RANKED_AT_ONCE = 200;

export type GroupKey = 'room_id' | 'sender';

export interface SearchRequest {
  readonly term: string;
  readonly keys: readonly SearchKey[] | undefined;
  /** A RoomEventFilter as JSON; undefined: everything. */
  readonly filter?: unknown;
  readonly orderBy: 'recent' | 'rank';
  /** Undefined for none. */
  readonly context: { readonly before: number; readonly after: number; readonly includeProfile: boolean } | undefined;
  readonly groupBy: readonly GroupKey[];
  readonly includeState: boolean;
  readonly nextBatch: string | undefined;
}

export interface SearchResult {
  readonly rank: number;
  /** The event as JSON text. */
  readonly event: string;
  readonly context: SearchContext | undefined;
}

export interface SearchGroup {
  readonly order: number;
  readonly results: readonly string[];
  readonly nextBatch: string | undefined;
}

export interface SearchAnswer {
  /** How many results there are in all; about how many, when there are many. */
  readonly count: number;
  readonly highlights: readonly string[];
  readonly results: readonly SearchResult[];
  /** Room id -> its current state, events as JSON texts. */
  readonly state: ReadonlyMap<string, readonly string[]> | undefined;
  readonly groups: ReadonlyMap<GroupKey, ReadonlyMap<string, SearchGroup>>;
  readonly nextBatch: string | undefined;
}

interface Results {
  readonly matches: readonly SearchMatch[];
  readonly count: number;
  /** Where the next page begins; undefined when there is none. */
  readonly next: SearchPosition | undefined;
}

export interface SearchServiceOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly scopes: SearchScopes;
  readonly pages: SearchPages;
  readonly contexts: SearchContexts;
  readonly roomState: RoomState;
  readonly writer: ClientEvents;
  readonly ignoredUsers: IgnoredUsers;
  /** What fills the index. */
  readonly follower: Pick<EventFollower, 'reached'>;
  /** Bytes of events of one answer: half of them for results and states, half for what stands around them. */
  readonly maxBytes: number;
}

/** Finds messages, names and topics of rooms. Client-Server API, "Server Side Search". */
export class SearchService {
  readonly #options: SearchServiceOptions;

  constructor(options: SearchServiceOptions) {
    this.#options = options;
  }

  /** @throws MatrixError M_INVALID_PARAM for a `next_batch` that is not one of this server, for terms that are too long; what is wrong with the filter */
  async search(reader: Reader, request: SearchRequest): Promise<SearchAnswer> {
    const position = request.nextBatch === undefined ? undefined : decodeSearchToken(request.nextBatch);
    if (request.nextBatch !== undefined && position === undefined)
      throw new MatrixError('M_INVALID_PARAM', 'The parameter next_batch is not a token of a search on this server.');
    if (request.term.length > MAX_TERM_LENGTH)
      throw new MatrixError('M_INVALID_PARAM', `The search_term is longer than ${MAX_TERM_LENGTH} characters.`);
    await this.#options.follower.reached(MAX_WAIT_MS);
    const query = parseSearchQuery(request.term);
    const filter = request.filter === undefined ? NO_ROOM_EVENT_FILTER : parseRoomEventFilter(request.filter);
    const limit = Math.min(pageLimit(filter.limit, PAGE), resultsPerPage(request.context));
    const start: SearchPosition = position ?? { before: NEWEST, seen: 0 };
    const found = await this.#find(reader.userId, request, { query, filter, limit }, start);
    const { matches, next } = found;
    return {
      count: found.count,
      highlights: query.terms.map((term) => term.source),
      results: await this.#results(reader, request, matches),
      state: request.includeState ? await this.#states(reader, matches) : undefined,
      groups: new Map(request.groupBy.map((key) => [key, groupsOf(key, matches, next)])),
      nextBatch: next === undefined ? undefined : encodeSearchToken(next),
    };
  }

  async #find(
    userId: string,
    request: SearchRequest,
    {
      query,
      filter,
      limit,
    }: {
      readonly query: SearchPageRequest['query'];
      readonly filter: RoomEventFilter;
      readonly limit: number;
    },
    start: SearchPosition,
  ): Promise<Results> {
    const { group } = start;
    const allSenders = group?.key === 'sender' ? [group.value] : filter.senders;
    const senders = allSenders?.filter((sender) => filter.senders === undefined || filter.senders.includes(sender));
    const scope = await this.#options.scopes.of(userId, {
      ...(filter.rooms === undefined ? {} : { rooms: filter.rooms }),
      ...(filter.notRooms === undefined ? {} : { notRooms: filter.notRooms }),
      ...(group?.key === 'room_id' ? { only: group.value } : {}),
    });
    // The scope has chosen the rooms, predecessors included.
    const { rooms: _rooms, notRooms: _notRooms, ...others } = filter;
    const predicate = compileEventFilter(senders === undefined ? others : { ...others, senders });
    const types = new Set((request.keys ?? SEARCH_KEYS).map((key) => TYPE_OF_KEY[key]));
    const names = await this.#options.interner.find({ types });
    const ignored = await this.#options.ignoredUsers.of(userId);
    const page = {
      userId,
      query,
      scope,
      senders: senders === undefined ? undefined : await knownUsers(this.#options.database, senders),
      types: request.keys === undefined ? undefined : [...types].flatMap((type) => names.peekType(type) ?? []),
      wanted: ((event, relations) =>
        types.has(event.type) &&
        // State events of ignored users are included.
        !(event.type === MESSAGE && event.sender !== undefined && ignored.has(event.sender)) &&
        predicate(event, relations)) as typeof predicate,
      needsRelations: needsRelations(filter),
      // Later pages know it from the first one.
      counts: start.count === undefined,
    };
    const fills = this.#filling(request);
    return request.orderBy === 'recent'
      ? this.#newestFirst({ ...page, fills }, limit, start)
      : this.#bestFirst(page, limit, start, fills);
  }

  /** Adds up what matches weigh in the answer, and says when that is enough. */
  #filling({ includeState }: SearchRequest): SearchPageRequest['fills'] {
    const states = new Set<string>();
    let bytes = 0;
    return ({ room, visible }) => {
      bytes += visible.event.json.length;
      if (includeState && !states.has(room.roomId)) {
        states.add(room.roomId);
        bytes += room.stateBytes() + MEMBER_BYTES * room.members.size;
      }
      return 2 * bytes >= this.#options.maxBytes;
    };
  }

  async #newestFirst(
    request: Omit<SearchPageRequest, 'before' | 'until' | 'limit'>,
    limit: number,
    start: SearchPosition,
  ): Promise<Results> {
    const page = await this.#options.pages.read({ ...request, before: start.before, until: undefined, limit });
    const seen = start.seen + page.matches.length;
    const count = Math.max(start.count ?? start.seen + page.estimate, seen);
    const goesOn = limit > 0 && (page.matches.length === limit || !page.isEnd);
    return {
      matches: page.matches,
      count,
      next: goesOn ? { before: page.end, seen, count, ...groupOf(start) } : undefined,
    };
  }

  /** Sorts the newest matches by rank, then those before them, and so on: the best ones of a stretch come first. */
  async #bestFirst(
    request: Omit<SearchPageRequest, 'before' | 'until' | 'limit' | 'fills'>,
    limit: number,
    start: SearchPosition,
    fills: SearchPageRequest['fills'],
  ): Promise<Results> {
    const matches: SearchMatch[] = [];
    let isFull = limit === 0;
    let position = start;
    let { count } = start;
    for (;;) {
      const { before, until, last } = position;
      const page: SearchPage = await this.#options.pages.read({
        ...request,
        before,
        until,
        limit: Math.max(limit, RANKED_AT_ONCE),
        fills: () => false,
      });
      const left = page.matches
        .filter((match) => last === undefined || comesAfter(match, last))
        .toSorted((a, b) => b.rank - a.rank || (isBefore(a, b) ? 1 : -1));
      // What was handed out of this stretch before is part of the estimate already.
      count ??= start.seen - (page.matches.length - left.length) + page.estimate;
      let lastTaken: SearchMatch | undefined;
      for (const match of left) {
        if (isFull) break;
        matches.push(match);
        lastTaken = match;
        isFull = fills(match) || matches.length === limit;
      }
      const seen = start.seen + matches.length;
      count = Math.max(count, seen);
      const common = { ...groupOf(start), seen, count };
      if (isFull) {
        const next: SearchPosition = {
          before,
          until: until ?? page.end,
          ...(lastTaken === undefined ? {} : { last: placeOf(lastTaken) }),
          ...common,
        };
        return { matches, count, next: limit > 0 ? next : undefined };
      }
      if (page.isEnd) return { matches, count, next: undefined };
      position = { before: page.end, ...common };
      // A stretch that took long to look through and held little: the client decides whether to continue.
      if (until === undefined && page.matches.length < RANKED_AT_ONCE) return { matches, count, next: position };
    }
  }

  async #results(reader: Reader, request: SearchRequest, matches: readonly SearchMatch[]): Promise<SearchResult[]> {
    const { contexts, maxBytes, writer } = this.#options;
    const around = request.context && { ...request.context, maxBytes: maxBytes / 2 / matches.length };
    const one = async ({ room, visible, rank }: SearchMatch): Promise<SearchResult> => {
      const [event] = await writer.write(room, reader, [visible]);
      const context = around && (await contexts.around(room, reader, visible, around));
      return { rank, event: event ?? '{}', context };
    };
    const results: SearchResult[] = [];
    for (let at = 0; at < matches.length; at += AROUND_AT_ONCE)
      results.push(...(await Promise.all(matches.slice(at, at + AROUND_AT_ONCE).map(one))));
    return results;
  }

  async #states(reader: Reader, matches: readonly SearchMatch[]): Promise<Map<string, readonly string[]>> {
    const states = new Map<string, readonly string[]>();
    for (const roomId of new Set(matches.map(({ room }) => room.roomId))) {
      const { roomState } = this.#options;
      const events = await roomState.all(roomId, reader.userId);
      states.set(roomId, await roomState.writeOf(roomId, reader.userId, events));
    }
    return states;
  }
}

const resultsPerPage = (context: SearchRequest['context']): number => {
  const most = (count: number): number => Math.min(count, MAX_AROUND);
  const around = context === undefined ? 0 : most(context.before) + most(context.after);
  return Math.floor(MAX_EVENTS / (1 + around));
};

const groupOf = (position: SearchPosition): Pick<SearchPosition, 'group'> =>
  position.group === undefined ? {} : { group: position.group };

const placeOf = ({ ts, event, rank }: SearchMatch): NonNullable<SearchPosition['last']> => ({ ts, event, rank });

/** Whether a match comes after another one by rank. */
const comesAfter = (match: SearchMatch, last: NonNullable<SearchPosition['last']>): boolean =>
  match.rank < last.rank || (match.rank === last.rank && isBefore(match, last));

const groupsOf = (
  key: GroupKey,
  matches: readonly SearchMatch[],
  next: SearchPosition | undefined,
): Map<string, SearchGroup> => {
  const members = Map.groupBy(matches, ({ room, visible }) => (key === 'room_id' ? room.roomId : visible.event.sender));
  const groups = new Map<string, SearchGroup>();
  const nextIn = (value: string, seen: number): string | undefined => {
    if (next === undefined) return undefined;
    // A group counts for itself.
    const { count: _count, ...position } = next;
    return encodeSearchToken({ ...position, group: { key, value }, seen: next.group === undefined ? seen : next.seen });
  };
  for (const [value, inGroup] of members) {
    groups.set(value, {
      order: groups.size + 1,
      results: inGroup.map(({ visible }) => visible.event.eventId),
      nextBatch: nextIn(value, inGroup.length),
    });
  }
  return groups;
};
