import { runsOf } from './fold.ts';

/**
 * What a folded text is found by: each pair of neighbours where words are not told apart by spaces, and beginnings of words
 * elsewhere. Everything else that a search means is decided on the text itself.
 */

/** Lengths of the beginnings of words by which they are found, longest first. */
const PREFIXES = [9, 6, 4, 3, 2];
/** More do not narrow a search any further. */
const MOST_WANTED = 6;

/** The grams of a folded text, each once. */
export const gramsOf = (folded: string): Set<string> => {
  const grams = new Set<string>();
  for (const { isUnspaced, characters } of runsOf(folded)) {
    if (isUnspaced) for (let i = 1; i < characters.length; i++) grams.add(`${characters[i - 1]}${characters[i]}`);
    else
      for (const length of PREFIXES) if (characters.length >= length) grams.add(characters.slice(0, length).join(''));
  }
  return grams;
};

/** The grams that every text has in which this folded text can be found; none when it is too short to say. */
export const wantedGrams = (folded: string): string[] => {
  const grams = new Set<string>();
  for (const { isUnspaced, characters } of runsOf(folded)) {
    if (!isUnspaced) {
      const length = PREFIXES.find((prefix) => prefix <= characters.length);
      if (length !== undefined) grams.add(characters.slice(0, length).join(''));
      continue;
    }
    // Every second pair covers all characters; the last one those of odd lengths.
    for (let i = 1; i < characters.length; i += 2) grams.add(`${characters[i - 1]}${characters[i]}`);
    if (characters.length > 2 && characters.length % 2 === 1) grams.add(characters.slice(-2).join(''));
  }
  return [...grams].toSorted((a, b) => b.length - a.length).slice(0, MOST_WANTED);
};

/** A gram as a 32-bit integer, another one in each `space`: FNV-1a over UTF-16 code units, then mixed. */
export const gramHash = (space: number, gram: string): number => {
  let hash = 0x811c9dc5 ^ Math.imul(space, 0x9e3779b1);
  for (let i = 0; i < gram.length; i++) {
    hash ^= gram.charCodeAt(i);
    hash = Math.imul(hash, 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
};
