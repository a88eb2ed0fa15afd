import { runsOf } from '#src/protocol/text/fold.ts';

/** Lengths of the beginnings of words by which they are found. */
const PREFIXES = [9, 6, 4, 3, 2];

/** The grams of a folded text, each once, made the simple way: what `gramHashesOf` is held against. */
export const gramsOf = (folded: string): Set<string> => {
  const grams = new Set<string>();
  for (const { isUnspaced, characters } of runsOf(folded)) {
    if (isUnspaced) for (let i = 1; i < characters.length; i++) grams.add(`${characters[i - 1]}${characters[i]}`);
    else
      for (const length of PREFIXES) if (characters.length >= length) grams.add(characters.slice(0, length).join(''));
  }
  return grams;
};
