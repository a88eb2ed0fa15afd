import { isUnspaced, runsOf } from './fold.ts';

/**
 * What a folded text is found by: each pair of neighbours where words are not told apart by spaces, and beginnings of words
 * in other scripts. All other matching is done on the text itself.
 */

/** Lengths of the beginnings of words by which they are found, longest first. */
const PREFIXES = [9, 6, 4, 3, 2];
/** More do not narrow a search any further. */
const MAX_WANTED = 6;
const SPACE = 0x20;

const isLowSurrogate = (unit: number): boolean => unit >= 0xdc00 && unit <= 0xdfff;

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
  return [...grams].toSorted((a, b) => b.length - a.length).slice(0, MAX_WANTED);
};

const start = (space: number): number => 0x811c9dc5 ^ Math.imul(space, 0x9e3779b1);

const step = (hash: number, unit: number): number => Math.imul(hash ^ unit, 0x01000193);

const mixed = (hash: number): number => {
  let mixing = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  mixing = Math.imul(mixing ^ (mixing >>> 13), 0xc2b2ae35);
  return mixing ^ (mixing >>> 16);
};

/** A gram as a 32-bit integer, another one in each `space`: FNV-1a over UTF-16 code units, then mixed. */
export const gramHash = (space: number, gram: string): number => {
  let hash = start(space);
  for (let i = 0; i < gram.length; i++) hash = step(hash, gram.charCodeAt(i));
  return mixed(hash);
};

/**
 * What `gramHash` makes of each of the grams of a folded text, each once. Every message goes through here, and most of what its grams
 * cost is to make texts of them: these are hashed where they stand.
 */
export const gramHashesOf = (space: number, folded: string): number[] => {
  const hashes = new Set<number>();
  const first = start(space);
  let isRunUnspaced = false;
  /** Characters of the run so far, the hash of all of them, and where the last one began. */
  let count = 0;
  let hash = first;
  let last = 0;
  for (let at = 0; at < folded.length;) {
    const unit = folded.charCodeAt(at);
    if (unit === SPACE) {
      count = 0;
      at += 1;
      continue;
    }
    const isPair = unit >= 0xd800 && unit <= 0xdbff && isLowSurrogate(folded.charCodeAt(at + 1));
    const end = isPair ? at + 2 : at + 1;
    const is = unit > 0x7f && isUnspaced(folded.slice(at, end));
    if (is !== isRunUnspaced) count = 0;
    isRunUnspaced = is;
    // Of words a gram begins where they do; of others, at the neighbour.
    if (count === 0) hash = first;
    if (is && count > 0) {
      hash = first;
      for (let i = last; i < at; i++) hash = step(hash, folded.charCodeAt(i));
    }
    for (let i = at; i < end; i++) hash = step(hash, folded.charCodeAt(i));
    count += 1;
    if (is ? count > 1 : PREFIXES.includes(count)) hashes.add(mixed(hash));
    last = at;
    at = end;
  }
  return [...hashes];
};
