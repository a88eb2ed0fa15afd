import type { SearchQuery } from '#src/protocol/text/search-query.ts';
import type { Database } from '#src/storage/database.ts';
import {
  eventsInRooms,
  lookUpSearchDocs,
  type SearchCandidate,
  type SearchedRoom,
  type SearchPlace,
  type Walk,
  walkSearchDocs,
} from '#src/storage/reading/search.ts';

/** Texts of a room that are looked through where a glance shows that this will do. */
const MAX_WALKED = 4_000;

/** After every event. */
export const NEWEST: SearchPlace = { ts: Number.MAX_SAFE_INTEGER, event: Number.MAX_SAFE_INTEGER };
/** Before every event. */
export const OLDEST: SearchPlace = { ts: -Number.MAX_SAFE_INTEGER, event: -Number.MAX_SAFE_INTEGER };

/** Whether a place is older than another. Newer ones come first. */
export const isBefore = (one: SearchPlace, other: SearchPlace): boolean =>
  one.ts < other.ts || (one.ts === other.ts && one.event < other.event);

/** What is searched for in the index and in texts. */
export interface CandidateRequest {
  readonly query: SearchQuery;
  /** Integers of senders and types, where that finds all that is wanted. */
  readonly senders: readonly number[] | undefined;
  readonly types: readonly number[] | undefined;
}

/** Events that may answer a query, newest first. */
interface Candidates {
  readonly list: readonly SearchCandidate[];
  readonly end: SearchPlace;
  readonly isEnd: boolean;
  /** About how many candidates there are in all. */
  readonly total: () => Promise<number>;
}

/** Finds the newest events that may answer a query. */
export class SearchCandidates {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * What is said often is met among the newest texts, what is said seldom in the index: a glance at the newest texts of all rooms
   * tells which of the two it is.
   */
  async find(
    request: CandidateRequest,
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
}
