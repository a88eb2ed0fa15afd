import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import type { Pdu } from '#src/protocol/events/pdu.ts';
import type { EventPredicate, Relation } from '#src/protocol/filters/event-predicate.ts';
import type { StepBudget } from '#src/protocol/matching/step-budget.ts';
import { foldText } from '#src/protocol/text/fold.ts';
import { rankOf, type SearchQuery } from '#src/protocol/text/search-query.ts';
import type { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { VisibleEvent } from '#src/services/reading/visibility/visible-event.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { relationsTo } from '#src/storage/reading/relation-senders.ts';
import { type SearchCandidate, type SearchPlace, textsOf } from '#src/storage/reading/search.ts';
import { searchableText } from './searchable-text.ts';

/** Bytes of events that are read at once. */
const MAX_BYTES_READ = 2 * 1024 * 1024;
/** Steps in one turn of the event loop: about two milliseconds. */
const STEPS_AT_ONCE = 50_000;

/** What a candidate must be to be a match. */
export interface CheckRequest {
  readonly userId: string;
  readonly query: SearchQuery;
  readonly wanted: EventPredicate;
  readonly needsRelations: boolean;
}

/** An event that was searched for. */
export interface SearchMatch extends SearchPlace {
  readonly room: Room;
  readonly visible: VisibleEvent;
  readonly rank: number;
}

export interface SearchCheckOptions {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly loader: EventLoader;
  readonly visibility: EventVisibility;
}

/** Looks through candidates of a search: which of them answer the query, are wanted, and may be seen by the user. */
export class SearchCheck {
  readonly #database: Database;
  readonly #rooms: RoomRegistry;
  readonly #loader: EventLoader;
  readonly #visibility: EventVisibility;

  constructor({ database, loader, rooms, visibility }: SearchCheckOptions) {
    this.#database = database;
    this.#rooms = rooms;
    this.#loader = loader;
    this.#visibility = visibility;
  }

  /**
   * Of as many of the first candidates as the budget allows, of one at least, the matches, each in its place. Other work has its turn in
   * between.
   */
  async matches(
    request: CheckRequest,
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

  async #wanted(request: CheckRequest, room: Room, events: readonly StoredEvent[]): Promise<StoredEvent[]> {
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
