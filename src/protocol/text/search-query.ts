import { foldText, isUnspaced } from './fold.ts';
import { wantedGrams } from './grams.ts';

/** One thing that a text has to contain. */
export interface SearchTerm {
  /** As it was typed. */
  readonly source: string;
  readonly folded: string;
}

/** What somebody searches for: texts that contain all terms. */
export interface SearchQuery {
  readonly terms: readonly SearchTerm[];
  /** The grams that every such text has. */
  readonly grams: readonly string[];
}

/** Stretches in double quotes, and stretches without spaces. */
const PIECES = /["“”]([^"“”]*)["“”]|[^\s"“”]+/gu;
const MOST_TERMS = 16;

/** Reads what was typed: terms stand between spaces, and what is in double quotes is one term. */
export const parseSearchQuery = (typed: string): SearchQuery => {
  const terms = new Map<string, SearchTerm>();
  for (const [piece, quoted] of typed.matchAll(PIECES)) {
    const source = (quoted ?? piece).trim();
    const folded = foldText(source);
    if (folded !== '' && terms.size < MOST_TERMS) terms.set(folded, terms.get(folded) ?? { source, folded });
  }
  const grams = new Set([...terms.keys()].flatMap(wantedGrams));
  return { terms: [...terms.values()], grams: [...grams].toSorted((a, b) => b.length - a.length).slice(0, 8) };
};

/** How often a term stands in a folded text. A word is found by its beginning; where there are no spaces, everything is. */
const occurrences = (folded: string, term: string): number => {
  const startsAnywhere = isUnspaced(firstOf(term));
  let count = 0;
  for (let at = folded.indexOf(term); at >= 0; at = folded.indexOf(term, at + 1)) {
    if (startsAnywhere || at === 0 || !isWordCharacter(lastOf(folded.slice(Math.max(0, at - 2), at)))) count += 1;
  }
  return count;
};

const firstOf = (text: string): string => String.fromCodePoint(text.codePointAt(0) ?? 32);
const lastOf = (text: string): string => Array.from(text).at(-1) ?? ' ';
const isWordCharacter = (character: string): boolean => character !== ' ' && !isUnspaced(character);

/**
 * How well a folded text answers a query: more the more often its terms stand in it and the shorter it is. 0 when one of the terms
 * is missing.
 */
export const rankOf = (folded: string, query: SearchQuery): number => {
  if (query.terms.length === 0) return 0;
  let found = 0;
  for (const { folded: term } of query.terms) {
    const count = occurrences(folded, term);
    if (count === 0) return 0;
    found += 1 + Math.log(count);
  }
  return found / query.terms.length / (1 + Math.log(1 + folded.length / 100));
};
