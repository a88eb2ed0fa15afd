import { StepBudget } from '#src/protocol/matching/step-budget.ts';
import { gramHash } from '#src/protocol/text/grams.ts';
import type { SearchedRoom, SearchPlace } from '#src/storage/reading/search.ts';
import { type CandidateRequest, isBefore, OLDEST, SearchCandidates } from './search-candidates.ts';
import { type CheckRequest, SearchCheck, type SearchCheckOptions, type SearchMatch } from './search-check.ts';
import type { SearchableRoom } from './search-scope.ts';

/** Texts that are looked through at first, in all rooms together, and in each at least. */
const GLANCE = 500;
const LEAST_GLANCE = 5;
/** Most candidates that are read at once, and for one page; where no more than the former are left, matches are counted, not estimated. */
const MAX_READ = 500;
export const MAX_EXAMINED = 4_000;
/** Steps of a page: about one for each character of a text that is folded, and for some of those that are looked through. */
export const MAX_STEPS = 1_500_000;
/**
 * The same for a page where nothing typed is long enough to be looked up, and every text is read: a rare character that was said long ago is
 * found within a few pages, or in the first one.
 */
export const MAX_SCANNED_TEXTS = 20_000;

/** A page of results that is wanted. */
export interface SearchPageRequest extends CandidateRequest, CheckRequest {
  readonly scope: readonly SearchableRoom[];
  readonly before: SearchPlace;
  /** Where to stop at the latest; what stands there is taken. */
  readonly until: SearchPlace | undefined;
  readonly limit: number;
  /** Says how many bytes a match adds to the answer, and whether it is full with it. */
  readonly fills: (match: SearchMatch) => boolean;
  /** Whether `estimate` is wanted: it costs something. */
  readonly counts: boolean;
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

/** Finds the newest events that answer a query and that a user may see. */
export class SearchPages {
  readonly #candidates: SearchCandidates;
  readonly #check: SearchCheck;

  constructor(options: SearchCheckOptions) {
    this.#candidates = new SearchCandidates(options.database);
    this.#check = new SearchCheck(options);
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
      const next = await this.#candidates.find(request, rooms, place, size, walks ? perRoom : undefined);
      total ??= next.total;
      if (isLookedUp) walks = false;
      // Where most texts are in few of the rooms, as many of each room lead not far enough.
      else if (2 * next.list.length < size) perRoom = Math.min(2 * perRoom, MAX_READ);
      const stopAt = until === undefined ? -1 : next.list.findIndex((candidate) => isBefore(candidate, until));
      const list = stopAt < 0 ? next.list : next.list.slice(0, stopAt);
      for (let at = 0; at < list.length && !budget.isSpent;) {
        const found = await this.#check.matches(request, list.slice(at), budget);
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
    const rest = await this.#candidates.find(request, rooms, place, MAX_READ, perRoom);
    if (!rest.isEnd) return estimate;
    let { examined, matches } = seen;
    for (let at = 0; at < rest.list.length && !budget.isSpent;) {
      const found = await this.#check.matches(request, rest.list.slice(at), budget);
      at += found.length;
      examined += found.length;
      matches += found.filter((match) => match !== undefined).length;
    }
    return Math.round((matches / examined) * (seen.examined + rest.list.length));
  }
}
