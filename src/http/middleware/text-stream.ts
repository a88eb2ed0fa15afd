import { Readable } from 'node:stream';

/** Characters that are turned into bytes at once. */
const CHARACTERS_AT_ONCE = 64 * 1024;

const isHighSurrogate = (code: number): boolean => code >= 0xd800 && code <= 0xdbff;

/** Where the part of a text that begins at `from` and has so many characters ends: surrogate pairs are not split. */
export const partEnd = (text: string, from: number, characters: number): number => {
  const end = from + characters;
  if (end >= text.length) return text.length;
  return isHighSurrogate(text.charCodeAt(end - 1)) ? end - 1 : end;
};

function* partsOf(pieces: readonly string[]): Generator<string, void, undefined> {
  for (const piece of pieces)
    for (let from = 0; from < piece.length;) {
      const end = partEnd(piece, from, CHARACTERS_AT_ONCE);
      yield piece.slice(from, end);
      from = end;
    }
}

/** The bytes of a text that comes in pieces, read as the client takes them: a long text is not turned into bytes in one turn of the event loop. */
export const textStream = (pieces: readonly string[]): Readable =>
  Readable.from(partsOf(pieces), { objectMode: false });
