import { isIgnored } from '#src/services/user-data/account-data/ignored-users.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { ClientEvents, Reader } from '#src/services/reading/client-events/client-events.ts';
import { type EventFinder, throwEventNotFound } from '#src/services/reading/history/event-finder.ts';
import { isBeyond } from '#src/services/reading/history/history-pages.ts';
import type { HistoryPlace, HistoryTokens } from '#src/services/reading/history/history-tokens.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomAccess } from '#src/services/reading/access/room-access.ts';
import { encodeRoomToken } from '#src/protocol/wire/position.ts';
import type { EventVisibility, VisibleEvent } from '#src/services/reading/visibility/event-visibility.ts';
import type { IgnoredUsers } from './bundled-aggregations.ts';
import { byPlace, type RelatedEvent } from './related-events.ts';
import type { RelationIndex } from './relation-index.ts';

const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 1000;
/** "Homeservers SHOULD traverse at least 3 levels of relationships." */
const DEPTH = 3;
/** Events that are read at once. */
const READ_AT_ONCE = 128;
/** How many indirect relations are gathered at most. */
const MAX_GATHERED = 20_000;

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

/** The events that relate to an event. Client-Server API, "Relationships API". */
export class Relations {
  readonly #access: RoomAccess;
  readonly #finder: EventFinder;
  readonly #tokens: HistoryTokens;
  readonly #index: RelationIndex;
  readonly #loader: EventLoader;
  readonly #visibility: EventVisibility;
  readonly #ignoredUsers: IgnoredUsers;
  readonly #writer: ClientEvents;
  readonly #maxBytes: number;

  constructor(options: {
    readonly access: RoomAccess;
    readonly finder: EventFinder;
    readonly tokens: HistoryTokens;
    readonly index: RelationIndex;
    readonly loader: EventLoader;
    readonly visibility: EventVisibility;
    readonly ignoredUsers: IgnoredUsers;
    readonly writer: ClientEvents;
    /** Bytes of events after which a page ends, however many were asked for. */
    readonly maxBytes: number;
  }) {
    this.#access = options.access;
    this.#finder = options.finder;
    this.#tokens = options.tokens;
    this.#index = options.index;
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
    const related = (await this.#gather(room, event, query)).filter(
      (one) => !isIgnored(one, ignored) && liesWithin(one, start, stop, dir),
    );
    if (dir === 'b') related.reverse();
    const limit = Math.min(query.limit ?? DEFAULT_LIMIT, MAX_LIMIT);
    const { events, rest } = await this.#visible(room, reader.userId, related, limit);
    const last = events.at(-1)?.event;
    return {
      chunk: await this.#writer.write(room, reader, events),
      next:
        rest && last !== undefined
          ? encodeRoomToken({ topo: last.topo, nid: dir === 'b' ? last.nid : last.nid + 1 })
          : undefined,
      previous: from,
      depth: query.recurse ? DEPTH : undefined,
    };
  }

  /** What relates to an event in the way that is wanted, in topological order. */
  async #gather(
    room: Room,
    event: { readonly nid: number; readonly eventId: string },
    query: RelationsQuery,
  ): Promise<RelatedEvent[]> {
    const { relType, eventType } = query;
    // "Filters [...] will be applied to all events returned, whether direct or indirect relations": on each step of the way.
    const matches = (one: RelatedEvent): boolean =>
      (relType === undefined || one.relType === relType) && (eventType === undefined || one.type === eventType);
    const found = new Map((await this.#index.of(room, event)).filter(matches).map((one) => [one.nid, one]));
    let frontier = query.recurse ? [...found.values()] : [];
    for (let depth = 0; depth < DEPTH && frontier.length > 0 && found.size < MAX_GATHERED; depth++) {
      const next: RelatedEvent[] = [];
      for (const some of (await this.#index.all(frontier.map((one) => ({ room, event: one })))).values()) {
        for (const one of some) {
          if (found.has(one.nid) || one.nid === event.nid || !matches(one)) continue;
          found.set(one.nid, one);
          next.push(one);
        }
      }
      frontier = next;
    }
    return [...found.values()].sort(byPlace);
  }

  /** The first of them that the user may see, `limit` or as many as a page may hold, and whether there is more. */
  async #visible(
    room: Room,
    userId: string,
    related: readonly RelatedEvent[],
    limit: number,
  ): Promise<{ readonly events: readonly VisibleEvent[]; readonly rest: boolean }> {
    const events: VisibleEvent[] = [];
    const batch = Math.min(limit + 1, READ_AT_ONCE);
    let bytes = 0;
    for (let at = 0; at < related.length; at += batch) {
      const slice = related.slice(at, at + batch);
      const loaded = await this.#loader.load(slice.map(({ nid }) => ({ room, nid })));
      const present = slice.flatMap(({ nid }) => loaded.get(nid) ?? []);
      for (const one of await this.#visibility.visibleTo(room, userId, present)) {
        if (events.length >= limit || bytes >= this.#maxBytes) return { events, rest: true };
        events.push(one);
        bytes += one.event.json.length;
      }
    }
    return { events, rest: false };
  }
}

const liesWithin = (
  one: RelatedEvent,
  start: HistoryPlace | undefined,
  stop: HistoryPlace | undefined,
  dir: 'b' | 'f',
): boolean => {
  if (stop !== undefined && isBeyond(one, stop, dir)) return false;
  if (start === undefined) return true;
  const isBefore = byPlace(one, start.place) < 0;
  return dir === 'b' ? isBefore && one.nid <= start.upTo : !isBefore;
};
