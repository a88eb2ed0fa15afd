import { foldText } from './fold.ts';
import { gramHash } from './grams.ts';

/**
 * What users are found by: every character and every pair of neighbours of their names, so that any part of a name finds it in any
 * script, and the beginnings of their ids.
 */

const NAME = 1;
const ID = 2;
const MAX_PREFIX_LENGTH = 24;

/** A user id as it is compared: without its sigil, in lower case and plain width. */
export const foldUserId = (userId: string): string => userId.normalize('NFKC').toLowerCase().replace(/^@/, '');

const pairsOf = (folded: string, singles: boolean): Set<string> => {
  const grams = new Set<string>();
  for (const word of folded.split(' ')) {
    const characters = [...word];
    for (const [index, character] of characters.entries()) {
      if (singles || characters.length === 1) grams.add(character);
      const next = characters[index + 1];
      if (next !== undefined) grams.add(`${character}${next}`);
    }
  }
  grams.delete('');
  return grams;
};

/** Hashes for one user. Both texts are folded. */
export const directoryGrams = (foldedId: string, foldedName: string): number[] => {
  const hashes = new Set<number>();
  for (const gram of pairsOf(foldedName, true)) hashes.add(gramHash(NAME, gram));
  for (let length = 1; length <= Math.min(MAX_PREFIX_LENGTH, foldedId.length); length++)
    hashes.add(gramHash(ID, foldedId.slice(0, length)));
  return [...hashes];
};

/** Something that a user's name or id has to hold. */
export interface NameTerm {
  /** To be part of the folded name; empty when no name can hold it. */
  readonly name: string;
  /** To begin the folded id; empty when no id can begin with it. */
  readonly id: string;
}

/** The terms of what was typed, the longest first. */
export const nameTerms = (typed: string): NameTerm[] =>
  typed
    .split(/\s+/u)
    .map((piece) => ({ name: foldText(piece), id: foldUserId(piece) }))
    .filter(({ name, id }) => name !== '' || id !== '')
    .toSorted((a, b) => b.name.length - a.name.length)
    .slice(0, 8);

/** Hashes of users whose name holds a term; null when nobody's does. */
export const wantedNameGrams = ({ name }: NameTerm): number[] | null =>
  name === '' ? null : Array.from(pairsOf(name, false), (gram) => gramHash(NAME, gram));

/** Hashes of users whose id begins with a term; null when nobody's does. */
export const wantedIdGrams = ({ id }: NameTerm): number[] | null =>
  id === '' ? null : [gramHash(ID, id.slice(0, MAX_PREFIX_LENGTH))];
