import { pageLimit } from '#src/kernel/limits/page-limit.ts';
import { isIgnored } from '#src/services/user-data/account-data/ignored-users.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { ClientEvents, Reader } from '#src/services/reading/client-events/client-events.ts';
import { type EventFinder, throwEventNotFound } from '#src/services/reading/history/event-finder.ts';
import { isBeyond, placeAfter } from '#src/services/reading/history/history-pages.ts';
import {
  EARLIEST,
  type HistoryPlace,
  type HistoryTokens,
  LATEST,
} from '#src/services/reading/history/history-tokens.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomAccess } from '#src/services/reading/access/room-access.ts';
import { encodeRoomToken } from '#src/protocol/wire/position.ts';
import type { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { VisibleEvent } from '#src/services/reading/visibility/visible-event.ts';
import type { Database } from '#src/storage/database.ts';
import { relatedPage } from '#src/storage/reading/relation-reads.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { IgnoredUsers } from './bundled-aggregations.ts';
import { byPlace, type RelatedEvent, relatedEvent } from './related-events.ts';
import type { RelationIndex } from './relation-index.ts';

export const MAX_LIMIT = 1000;
const PAGE = { usual: 20, greatest: MAX_LIMIT };
/** "Homeservers SHOULD traverse at least 3 levels of relationships." */
const DEPTH = 3;
/** Events that are read at once. */
const READ_AT_ONCE = 128;
/** How many indirect relations are gathered at most. */
export const MAX_GATHERED = 20_000;

/** How many relations one answer looks at, for the reader or not, and how many of them together, without their texts. */
export const MAX_SCANNED = 4_000;
const SCANNED_AT_ONCE = 1_000;

export interface RelationsQuery {
  readonly relType?: string | undefined;
  readonly eventType?: string | undefined;
  readonly dir: 'b' | 'f';
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly limit?: number | undefined;
  readonly recurse: boolean;
}

/** A page of related events, as JSON texts. */
export interface RelationsPage {
  readonly chunk: readonly string[];
  readonly next: string | undefined;
  readonly previous: string | undefined;
  /** How deep relations of relations were followed; undefined when they were not. */
  readonly depth: number | undefined;
}

/** Some of what relates to an event, in the order of the page. */
interface Part {
  readonly related: readonly RelatedEvent[];
  /** The place after which there is more. */
  readonly last: Pick<RelatedEvent, 'topo' | 'nid'> | undefined;
}

/** Events of a page, and the place after which the next one continues, if there is more. */
interface Visible {
  readonly events: readonly VisibleEvent[];
  readonly last: Pick<RelatedEvent, 'topo' | 'nid'> | undefined;
}

/** The events that relate to an event. Client-Server API, "Relationships API". */
export class Relations {
  readonly #access: RoomAccess;
  readonly #database: Database;
  readonly #finder: EventFinder;
  readonly #tokens: HistoryTokens;
  readonly #index: RelationIndex;
  readonly #interner: Interner;
  readonly #loader: EventLoader;
  readonly #visibility: EventVisibility;
  readonly #ignoredUsers: IgnoredUsers;
  readonly #writer: ClientEvents;
  readonly #maxBytes: number;

  constructor(options: {
    readonly access: RoomAccess;
    readonly database: Database;
    readonly finder: EventFinder;
    readonly tokens: HistoryTokens;
    readonly index: RelationIndex;
    readonly interner: Interner;
    readonly loader: EventLoader;
    readonly visibility: EventVisibility;
    readonly ignoredUsers: IgnoredUsers;
    readonly writer: ClientEvents;
    /** Bytes of events after which a page ends, however many were asked for. */
    readonly maxBytes: number;
  }) {
    this.#access = options.access;
    this.#database = options.database;
    this.#finder = options.finder;
    this.#tokens = options.tokens;
    this.#index = options.index;
    this.#interner = options.interner;
    this.#loader = options.loader;
    this.#visibility = options.visibility;
    this.#ignoredUsers = options.ignoredUsers;
    this.#writer = options.writer;
    this.#maxBytes = options.maxBytes;
  }

  /** @throws MatrixError M_NOT_FOUND when the event is not there or not for this reader, M_INVALID_PARAM for a token that is none */
  async page(roomId: string, reader: Reader, eventId: string, query: RelationsQuery): Promise<RelationsPage> {
    const room = await this.#access.known(roomId).catch(throwEventNotFound);
    const { event } = await this.#finder.visible(room, reader.userId, eventId);
    const { dir, from, to } = query;
    const start = from === undefined ? undefined : await this.#tokens.read(room, from, dir);
    const stop = to === undefined ? undefined : await this.#tokens.read(room, to, dir);
    const ignored = await this.#ignoredUsers(reader.userId);
    const limit = pageLimit(query.limit, PAGE);
    const isWanted = (one: RelatedEvent): boolean =>
      !isIgnored(one, ignored) && matches(one, query) && isAfter(one, start, dir);
    const parts = query.recurse
      ? this.#indirect(room, event, query, isWanted, stop)
      : this.#direct(room, event, { dir, limit }, isWanted, { start, stop });
    const { events, last } = await this.#visible(room, reader.userId, parts, limit);
    return {
      chunk: await this.#writer.write(room, reader, events),
      next: last === undefined ? undefined : encodeRoomToken(placeAfter(last, dir)),
      previous: from,
      depth: query.recurse ? DEPTH : undefined,
    };
  }

  /** What relates to an event itself, so much of it that one answer looks at: all of it is come to by tokens. */
  async *#direct(
    room: Room,
    event: { readonly nid: number },
    { dir, limit }: { readonly dir: 'b' | 'f'; readonly limit: number },
    isWanted: (one: RelatedEvent) => boolean,
    { start, stop }: { readonly start: HistoryPlace | undefined; readonly stop: HistoryPlace | undefined },
  ): AsyncGenerator<Part> {
    let from = start?.place ?? (dir === 'b' ? LATEST : EARLIEST);
    let batch = Math.max(limit + 1, READ_AT_ONCE);
    for (let looked = 0; looked < MAX_SCANNED;) {
      const most = Math.min(batch, SCANNED_AT_ONCE, MAX_SCANNED - looked);
      const records = await relatedPage(this.#database, { room: room.nid, target: event.nid, dir, from, limit: most });
      looked += records.length;
      batch = SCANNED_AT_ONCE;
      const within = records.filter((record) => stop === undefined || !isBeyond(record, stop, dir));
      // A token of a sync ends no page: it says which events had arrived, and not where they stand.
      const isStopped = stop?.upTo === Infinity && within.length < records.length;
      // What is not published yet is no news to anybody.
      const shown = within.filter((record) => record.is_shown && record.nid <= room.lastPosition);
      const names = await this.#interner.named({
        users: shown.map((record) => record.sender),
        types: shown.flatMap((record) => [record.type, record.rel_type]),
      });
      const last = records.at(-1);
      const isEnd = isStopped || records.length < most || last === undefined;
      yield {
        related: shown.map((record) => relatedEvent(record, room, names)).filter(isWanted),
        last: isEnd ? undefined : last,
      };
      if (isEnd) return;
      from = placeAfter(last, dir);
    }
  }

  /** What relates to an event, or to what relates to it: the newest of it. */
  async *#indirect(
    room: Room,
    event: { readonly nid: number; readonly eventId: string },
    query: RelationsQuery,
    isWanted: (one: RelatedEvent) => boolean,
    stop: HistoryPlace | undefined,
  ): AsyncGenerator<Part> {
    const related = (await this.#gather(room, event, query)).filter(
      (one) => isWanted(one) && (stop === undefined || !isBeyond(one, stop, query.dir)),
    );
    if (query.dir === 'b') related.reverse();
    for (let at = 0; at < Math.min(related.length, MAX_SCANNED); at += SCANNED_AT_ONCE) {
      const part = related.slice(at, at + SCANNED_AT_ONCE);
      yield { related: part, last: at + SCANNED_AT_ONCE < related.length ? part.at(-1) : undefined };
    }
  }

  /** What relates to an event in the way that is wanted, directly or not, in topological order. */
  async #gather(
    room: Room,
    event: { readonly nid: number; readonly eventId: string },
    query: RelationsQuery,
  ): Promise<RelatedEvent[]> {
    // "Filters [...] will be applied to all events returned, whether direct or indirect relations": on each step of the way.
    const direct = (await this.#index.of(room, event)).filter((one) => matches(one, query));
    const found = new Map(direct.map((one) => [one.nid, one]));
    let frontier = direct;
    for (let depth = 0; depth < DEPTH && frontier.length > 0 && found.size < MAX_GATHERED; depth++) {
      const next: RelatedEvent[] = [];
      for (let at = 0; at < frontier.length && found.size < MAX_GATHERED; at += READ_AT_ONCE) {
        const targets = frontier.slice(at, at + READ_AT_ONCE).map((one) => ({ room, event: one }));
        for (const one of [...(await this.#index.all(targets)).values()].flat()) {
          if (found.has(one.nid) || one.nid === event.nid || !matches(one, query)) continue;
          found.set(one.nid, one);
          next.push(one);
        }
      }
      frontier = next;
    }
    return [...found.values()].sort(byPlace);
  }

  /** The first of them that the user may see, `limit` or as many as a page may hold, and whether there is more. */
  async #visible(room: Room, userId: string, parts: AsyncIterable<Part>, limit: number): Promise<Visible> {
    const events: VisibleEvent[] = [];
    let bytes = 0;
    let last: Visible['last'];
    for await (const part of parts) {
      const seen = await this.#visibility.seen(room, userId, [part.related], { ofGroup: Infinity, ofAll: Infinity });
      const shown = part.related.filter(({ nid }) => seen.has(nid));
      while (shown.length > 0) {
        if (bytes >= this.#maxBytes) return { events, last: events.at(-1)?.event };
        // One more than fit, to know that there is one.
        const places = shown.splice(0, Math.min(READ_AT_ONCE, limit - events.length + 1));
        const loaded = await this.#loader.load(places.map(({ nid }) => ({ room, nid })));
        const present = places.flatMap(({ nid }) => loaded.get(nid) ?? []);
        for (const one of await this.#visibility.visibleTo(room, userId, present)) {
          if (events.length >= limit || bytes >= this.#maxBytes) return { events, last: events.at(-1)?.event };
          events.push(one);
          bytes += one.event.json.length;
        }
      }
      last = part.last;
    }
    return { events, last };
  }
}

const matches = (one: RelatedEvent, { relType, eventType }: RelationsQuery): boolean =>
  (relType === undefined || one.relType === relType) && (eventType === undefined || one.type === eventType);

/** Whether an event comes after the beginning of a page. */
const isAfter = (one: RelatedEvent, start: HistoryPlace | undefined, dir: 'b' | 'f'): boolean => {
  if (start === undefined) return true;
  const isBefore = byPlace(one, start.place) < 0;
  return dir === 'b' ? isBefore && one.nid <= start.upTo : !isBefore;
};
