import { compileEventFilter, type EventPredicate } from '#src/protocol/filters/event-predicate.ts';
import type { RoomEventFilter } from '#src/protocol/filters/filter.ts';
import { NO_ROOM_EVENT_FILTER, parseRoomEventFilter } from '#src/protocol/filters/parse-filter.ts';
import { encodeRoomToken, type TopologicalPosition } from '#src/protocol/wire/position.ts';
import { pageLimit } from '#src/kernel/limits/page-limit.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { VisibleEvent } from '#src/services/reading/visibility/visible-event.ts';
import type { ClientEvents, Reader } from '#src/services/reading/client-events/client-events.ts';
import { type EventFinder, throwEventNotFound } from './event-finder.ts';
import type { HistoryPages } from './history-pages.ts';
import { EARLIEST, type HistoryTokens, LATEST } from './history-tokens.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomAccess, RoomView } from '#src/services/reading/access/room-access.ts';
import type { RoomState } from '#src/services/reading/state/room-state.ts';

/** Most events in one answer, whatever was asked for. */
export const MAX_LIMIT = 1000;
const PAGE = { usual: 10, greatest: MAX_LIMIT };

export interface MessagesQuery {
  readonly dir: 'b' | 'f';
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly limit?: number | undefined;
  /** A RoomEventFilter as JSON; undefined: everything. */
  readonly filter?: unknown;
}

/** An answer of `/messages`: events are JSON texts. */
export interface MessagesPage {
  readonly start: string;
  /** Undefined when there is nothing further in this direction. */
  readonly end: string | undefined;
  readonly chunk: readonly string[];
  /** With lazy loading: the members who sent the chunk. */
  readonly state: readonly string[] | undefined;
}

/** An answer of `/context`: events are JSON texts. */
export interface EventContext {
  readonly start: string;
  readonly end: string;
  readonly event: string;
  /** Newest first. */
  readonly before: readonly string[];
  readonly after: readonly string[];
  readonly state: readonly string[];
}

/** Reads the history of rooms. Client-Server API, "Getting events for a room". */
export class History {
  readonly #access: Pick<RoomAccess, 'known' | 'reading'>;
  readonly #finder: EventFinder;
  readonly #pages: HistoryPages;
  readonly #tokens: HistoryTokens;
  readonly #state: RoomState;
  readonly #writer: ClientEvents;

  constructor(options: {
    readonly access: Pick<RoomAccess, 'known' | 'reading'>;
    readonly finder: EventFinder;
    readonly pages: HistoryPages;
    readonly tokens: HistoryTokens;
    readonly state: RoomState;
    readonly writer: ClientEvents;
  }) {
    this.#access = options.access;
    this.#finder = options.finder;
    this.#pages = options.pages;
    this.#tokens = options.tokens;
    this.#state = options.state;
    this.#writer = options.writer;
  }

  /** One event. @throws MatrixError M_NOT_FOUND when it is not there, or not for this reader */
  async event(roomId: string, reader: Reader, eventId: string): Promise<string> {
    const room = await this.#access.known(roomId).catch(throwEventNotFound);
    const [json] = await this.#writer.write(room, reader, [await this.#finder.shown(room, reader.userId, eventId)]);
    return json ?? throwEventNotFound();
  }

  /**
   * A page of a room's history, in topological order. Client-Server API, `GET /rooms/{roomId}/messages`.
   *
   * @throws MatrixError M_FORBIDDEN, M_INVALID_PARAM for a token that is none; what is wrong with the filter
   */
  async messages(roomId: string, reader: Reader, query: MessagesQuery): Promise<MessagesPage> {
    const view = await this.#access.reading(roomId, reader.userId);
    const { room } = view;
    const { dir } = query;
    const filter = filterOf(query.filter);
    const start = query.from === undefined ? undefined : await this.#tokens.read(room, query.from, dir);
    const stop = query.to === undefined ? undefined : await this.#tokens.read(room, query.to, dir);
    const from = start?.place ?? (dir === 'b' ? LATEST : EARLIEST);
    const wanted = predicate(filter);
    const page = await this.#pages.read({
      room,
      userId: reader.userId,
      dir,
      from,
      upTo: Math.min(view.upTo, start?.upTo ?? Infinity),
      stop: stop === undefined ? undefined : { place: stop.place, upTo: stop.upTo },
      limit: limitOf(query.limit, filter),
      wanted,
      filter,
    });
    // Clients expect a token of a page with something on it where they took something out: it leads to nothing further.
    const isEnd = page.isEnd && (wanted === undefined || page.events.length === 0);
    // As of the latest event: every sender in the chunk has a membership there.
    const latest = dir === 'b' ? page.events[0] : page.events.at(-1);
    const members = filter.lazyLoadMembers ? await this.#senders(view, page.events, latest?.event) : undefined;
    return {
      start: query.from ?? encodeRoomToken(await this.#startOf(view, from, dir)),
      // What arrived later stays out of the pages that follow as well.
      end: isEnd ? undefined : encodeRoomToken(page.end, { within: finite(start?.upTo) }),
      chunk: await this.#writer.write(room, reader, page.events),
      state: members === undefined ? undefined : await this.#state.write(room, reader.userId, members),
    };
  }

  /** An event with those before and after it. @throws MatrixError M_NOT_FOUND when it is not there or not for this reader, M_FORBIDDEN */
  async context(
    roomId: string,
    reader: Reader,
    eventId: string,
    query: { readonly limit?: number | undefined; readonly filter?: unknown },
  ): Promise<EventContext> {
    const view = await this.#access.reading(roomId, reader.userId);
    const { room } = view;
    const filter = filterOf(query.filter);
    const target = await this.#finder.shown(room, reader.userId, eventId);
    const { topo, nid } = target.event;
    const limit = limitOf(query.limit, filter);
    const common = {
      room,
      userId: reader.userId,
      upTo: view.upTo,
      stop: undefined,
      maxBytes: this.#pages.maxBytes / 2,
      wanted: predicate(filter),
      filter,
    };
    const [before, after] = await Promise.all([
      this.#pages.read({ ...common, dir: 'b', from: { topo, nid }, limit: Math.floor(limit / 2) }),
      this.#pages.read({ ...common, dir: 'f', from: { topo, nid: nid + 1 }, limit: limit - Math.floor(limit / 2) }),
    ]);
    const last = after.events.at(-1)?.event ?? target.event;
    const all = [...before.events, target, ...after.events];
    const chain = await this.#state.at(view, last);
    const state = filter.lazyLoadMembers
      ? [...(await this.#state.eventsOf(room, chain, 'others')), ...(await this.#senders(view, all, last))]
      : await this.#state.eventsOf(room, chain);
    const passes = compileEventFilter(filter);
    const texts = await this.#writer.write(room, reader, all);
    const position = before.events.length;
    return {
      start: encodeRoomToken(before.end),
      end: encodeRoomToken(after.end),
      event: texts[position] ?? throwEventNotFound(),
      before: texts.slice(0, position),
      after: texts.slice(position + 1),
      state: await this.#state.write(
        room,
        reader.userId,
        state.filter((event) => passes(filterable(room, event))),
      ),
    };
  }

  /** The member events of those who sent these events, as of `at`. Client-Server API, "Lazy-loading room members". */
  async #senders(view: RoomView, events: readonly VisibleEvent[], at: StoredEvent | undefined): Promise<StoredEvent[]> {
    if (at === undefined) return [];
    const chain = await this.#state.at(view, at);
    return this.#state.membersOf(view.room, chain, new Set(events.map(({ event }) => event.sender)));
  }

  /** The place from which a page without `from` was read, as a token that keeps meaning the same place. */
  async #startOf(view: RoomView, from: TopologicalPosition, dir: 'b' | 'f'): Promise<TopologicalPosition> {
    return dir === 'f' ? from : this.#tokens.endOf(view.room, view.upTo);
  }
}

const finite = (position: number | undefined): number | undefined => (position === Infinity ? undefined : position);

const filterOf = (json: unknown): RoomEventFilter =>
  json === undefined ? NO_ROOM_EVENT_FILTER : parseRoomEventFilter(json);

const filterable = (room: Room, event: StoredEvent): Parameters<EventPredicate>[0] => ({
  type: event.type,
  sender: event.sender,
  room_id: room.roomId,
  content: event.content,
});

/** Undefined when everything is wanted. */
const predicate = (filter: RoomEventFilter): EventPredicate | undefined => {
  const { types, notTypes, senders, notSenders, rooms, notRooms, containsUrl } = filter;
  const { relatedBySenders, relatedByRelTypes, relTypes, notRelTypes } = filter;
  const lists = [
    types,
    notTypes,
    senders,
    notSenders,
    rooms,
    notRooms,
    containsUrl,
    relatedBySenders,
    relatedByRelTypes,
    relTypes,
    notRelTypes,
  ];
  return lists.every((list) => list === undefined) ? undefined : compileEventFilter(filter);
};

const limitOf = (limit: number | undefined, filter: RoomEventFilter): number =>
  Math.min(pageLimit(limit ?? filter.limit, PAGE), filter.limit ?? Infinity);
