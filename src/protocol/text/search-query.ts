import { foldText, isUnspaced } from './fold.ts';
import { type LiteralSearch, literalSearch } from '../matching/literal.ts';
import { wantedGrams } from './grams.ts';

/** One thing that a text has to contain. */
export interface SearchTerm {
  /** As it was typed. */
  readonly source: string;
  readonly folded: string;
}

/** A search: texts that contain all terms. */
export interface SearchQuery {
  readonly terms: readonly SearchTerm[];
  /** The grams that every such text has. */
  readonly grams: readonly string[];
}

/** Stretches in double quotes, and stretches without spaces. */
const PIECES = /["“”]([^"“”]*)["“”]|[^\s"“”]+/gu;
export const MAX_TERMS = 16;

/** Reads what was typed: terms stand between spaces, and what is in double quotes is one term. */
export const parseSearchQuery = (typed: string): SearchQuery => {
  const terms = new Map<string, SearchTerm>();
  for (const [piece, quoted] of typed.matchAll(PIECES)) {
    const source = (quoted ?? piece).trim();
    const folded = foldText(source);
    if (folded !== '' && terms.size < MAX_TERMS) terms.set(folded, terms.get(folded) ?? { source, folded });
  }
  const grams = new Set([...terms.keys()].flatMap(wantedGrams));
  return { terms: [...terms.values()], grams: [...grams].toSorted((a, b) => b.length - a.length).slice(0, 8) };
};

/** More do not make an answer any better. */
const MAX_COUNTED = 100;

/** Terms made ready to be looked for, many times. */
const searches = new WeakMap<SearchTerm, LiteralSearch>();

/** How often a term stands in a folded text. A word is found by its beginning; where there are no spaces, everything is. */
const occurrences = (folded: string, term: SearchTerm): number => {
  let search = searches.get(term);
  if (search === undefined) searches.set(term, (search = literalSearch(term.folded)));
  const startsAnywhere = isUnspaced(firstOf(term.folded));
  let count = 0;
  search(folded, 0, (at) => {
    if (startsAnywhere || at === 0 || !isInWord(folded, at)) count += 1;
    return count === MAX_COUNTED;
  });
  return count;
};

const firstOf = (text: string): string => String.fromCodePoint(text.codePointAt(0) ?? 32);

/** Whether the character before this place belongs to a word. Folded texts are ASCII mostly, in which everything but spaces does. */
const isInWord = (folded: string, at: number): boolean => {
  const unit = folded.charCodeAt(at - 1);
  if (unit < 0x80) return unit !== 0x20;
  const isSecondHalf = unit >= 0xdc00 && unit <= 0xdfff && at > 1;
  return !isUnspaced(firstOf(folded.slice(at - (isSecondHalf ? 2 : 1), at)));
};

/**
 * How well a folded text answers a query: more the more often its terms stand in it and the shorter it is. 0 when one of the terms
 * is missing.
 */
export const rankOf = (folded: string, query: SearchQuery): number => {
  if (query.terms.length === 0) return 0;
  let found = 0;
  for (const term of query.terms) {
    const count = occurrences(folded, term);
    if (count === 0) return 0;
    found += 1 + Math.log(count);
  }
  return found / query.terms.length / (1 + Math.log(1 + folded.length / 100));
};
