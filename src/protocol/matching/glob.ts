/**
 * Glob-style matching: `*` stands for zero or more characters, `?` for exactly one (appendices, "Glob-style matching").
 *
 * Patterns come from users and are run over text from other users, so they are never turned into regular expressions. The matcher
 * takes a number of steps that is linear in the text, whatever the pattern: literal pieces are looked for as Knuth, Morris and Pratt do,
 * pieces with question marks with one bit for each of their characters, 32 of them to a step.
 */

import { literalSearch, stopAt } from './literal.ts';
import type { StepBudget } from './step-budget.ts';

const QUESTION_MARK = '?';

/** UTF-16 code units that a pattern of a user may have: longer ones are refused where they are set, and match nothing. */
export const MAX_PATTERN_LENGTH = 512;

/** A parsed pattern: the pieces between its asterisks. */
export interface Glob {
  readonly pattern: string;
  /** At least one; an empty first or last piece means that the pattern starts or ends with an asterisk. */
  readonly pieces: readonly GlobPiece[];
}

/** Looks for the first place at or after `from` at which a piece stands and both ends are accepted; returns where it ends there, or -1. */
type PieceSearch = (text: string, from: number, ends: Ends, budget: StepBudget | undefined) => number;

/** Where a piece may start and end. */
interface Ends {
  readonly start: ((text: string, at: number) => boolean) | undefined;
  readonly end: ((text: string, at: number) => boolean) | undefined;
}

interface GlobPiece {
  readonly text: string;
  /** Whether `?` occurs in it, as a wildcard. */
  readonly wild: boolean;
  /** Made when the piece is first looked for. */
  search?: PieceSearch;
}

/** Parses a pattern once, for many matches. Case is significant: to ignore it, fold pattern and text. */
export function parseGlob(pattern: string): Glob {
  return { pattern, pieces: piecesOf(pattern, (text) => text.includes(QUESTION_MARK)) };
}

/** A pattern in which only the asterisk is a wildcard. */
export function parseAsteriskGlob(pattern: string): Glob {
  return { pattern, pieces: piecesOf(pattern, () => false) };
}

/** A pattern without wildcards: every character stands for itself. */
export function literalGlob(text: string): Glob {
  return { pattern: text, pieces: [{ text, wild: false }] };
}

/** Whether every character of the pattern stands for itself. */
export function isLiteral({ pieces }: Glob): boolean {
  return pieces.length === 1 && pieces[0]?.wild === false;
}

/** Whether the pattern matches the whole of the text. */
export function globMatches(glob: Glob, text: string, budget?: StepBudget): boolean {
  const { pieces } = glob;
  const first = pieces[0]!;
  budget?.spend(1 + Math.min(glob.pattern.length, text.length));
  if (pieces.length === 1 && !first.wild) return text === first.text;
  let at = pieceEndsAt(first, text, 0);
  if (pieces.length === 1) return at === text.length;
  for (let i = 1; i < pieces.length - 1 && at >= 0; i++) at = find(pieces[i]!, text, at, ANYWHERE, budget);
  return at >= 0 && endsTextWith(pieces[pieces.length - 1]!, text, at);
}

/**
 * Whether the pattern matches some part of the text that starts and ends at a word boundary: the start or end of the
 * text, or any character other than `A-Z a-z 0-9 _` (Client-Server API, "Push Rules").
 */
export function globMatchesWords(glob: Glob, text: string, budget?: StepBudget): boolean {
  const { pieces } = glob;
  const first = pieces[0]!;
  const last = pieces[pieces.length - 1]!;
  if (pieces.length === 1) return find(first, text, 0, WORDS, budget) >= 0;
  // With an asterisk after it, the earliest place for a piece leaves the most room for those that follow.
  let at = find(first, text, 0, WORD_START, budget);
  for (let i = 1; i < pieces.length - 1 && at >= 0; i++) at = find(pieces[i]!, text, at, ANYWHERE, budget);
  if (at < 0) return false;
  // A trailing asterisk reaches to the end of the text.
  return last.text === '' || find(last, text, at, WORD_END, budget) >= 0;
}

/** A position touches a boundary if it is an end of the text or has a non-word character on either side. */
function isWordBoundary(text: string, at: number): boolean {
  return at === 0 || at === text.length || !isWordUnit(text.charCodeAt(at - 1)) || !isWordUnit(text.charCodeAt(at));
}

/** Whether a UTF-16 code unit is one of `A-Z a-z 0-9 _`. */
export function isWordUnit(unit: number): boolean {
  return (
    (unit >= 0x61 && unit <= 0x7a) || (unit >= 0x41 && unit <= 0x5a) || (unit >= 0x30 && unit <= 0x39) || unit === 0x5f
  );
}

const ANYWHERE: Ends = { start: undefined, end: undefined };
const WORDS: Ends = { start: isWordBoundary, end: isWordBoundary };
const WORD_START: Ends = { start: isWordBoundary, end: undefined };
const WORD_END: Ends = { start: undefined, end: isWordBoundary };

/** The pieces between asterisks; several asterisks in a row are one. */
function piecesOf(pattern: string, isWild: (text: string) => boolean): GlobPiece[] {
  const texts = pattern.split('*');
  return texts
    .filter((text, i) => text !== '' || i === 0 || i === texts.length - 1)
    .map((text) => ({ text, wild: isWild(text) }));
}

function find(piece: GlobPiece, text: string, from: number, ends: Ends, budget: StepBudget | undefined): number {
  if (budget?.isSpent === true) return -1;
  piece.search ??= piece.wild ? wildSearch(piece.text) : literalPieceSearch(piece.text);
  return piece.search(text, from, ends, budget);
}

const areAccepted = ({ start, end }: Ends, text: string, from: number, to: number): boolean =>
  start?.(text, from) !== false && end?.(text, to) !== false;

function literalPieceSearch(piece: string): PieceSearch {
  const search = literalSearch(piece);
  return (text, from, ends, budget) => {
    let found = -1;
    search(
      text,
      from,
      (at) => {
        const isAccepted = areAccepted(ends, text, at, at + piece.length);
        if (isAccepted) found = at + piece.length;
        return isAccepted;
      },
      budget,
    );
    return found;
  };
}

/** One bit for each character of the piece: it is set while the text up to here ends with the piece up to that character. */
function wildSearch(piece: string): PieceSearch {
  const points = Array.from(piece);
  const words = Math.ceil(points.length / 32);
  const wild = new Int32Array(words);
  const masks = new Map<number, Int32Array>();
  for (const [i, character] of points.entries()) {
    const bit = 1 << (i & 31);
    const word = i >>> 5;
    if (character === QUESTION_MARK) {
      wild[word] = wild[word]! | bit;
      continue;
    }
    const point = character.codePointAt(0)!;
    let mask = masks.get(point);
    if (mask === undefined) masks.set(point, (mask = new Int32Array(words)));
    mask[word] = mask[word]! | bit;
  }
  for (const mask of masks.values()) for (let w = 0; w < words; w++) mask[w] = mask[w]! | wild[w]!;
  const lastBit = 1 << ((points.length - 1) & 31);
  return (text, from, { start, end }, budget) => {
    const state = new Int32Array(words);
    const stop = stopAt(text, from, words, budget);
    let steps = 1;
    let found = -1;
    // Never from the second half of a character on.
    for (let at = from > 0 && isSurrogatePair(text, from - 1) ? from + 1 : from; at < stop && found < 0;) {
      const point = text.codePointAt(at)!;
      const mask = masks.get(point) ?? wild;
      let carry = start?.(text, at) === false ? 0 : 1;
      for (let w = 0; w < words; w++) {
        const bits = state[w]!;
        state[w] = ((bits << 1) | carry) & mask[w]!;
        carry = bits >>> 31;
      }
      at += point > 0xffff ? 2 : 1;
      steps += words;
      if ((state[words - 1]! & lastBit) !== 0 && end?.(text, at) !== false) found = at;
    }
    budget?.spend(steps);
    return found;
  };
}

/** Where the piece ends if it stands at this place, or -1. */
function pieceEndsAt(piece: GlobPiece, text: string, at: number): number {
  if (!piece.wild) return text.startsWith(piece.text, at) ? at + piece.text.length : -1;
  let position = at;
  for (let i = 0; i < piece.text.length; i++) {
    if (position >= text.length) return -1;
    if (piece.text[i] === QUESTION_MARK) {
      position += isSurrogatePair(text, position) ? 2 : 1;
    } else if (piece.text.charCodeAt(i) === text.charCodeAt(position)) {
      position++;
    } else {
      return -1;
    }
  }
  return position;
}

/** Whether the text ends with the piece, and that begins at `from` or later. */
function endsTextWith(piece: GlobPiece, text: string, from: number): boolean {
  if (!piece.wild) return text.length - piece.text.length >= from && text.endsWith(piece.text);
  let position = text.length;
  for (let i = piece.text.length - 1; i >= 0; i--) {
    if (position <= from) return false;
    if (piece.text[i] === QUESTION_MARK) {
      position -= position > 1 && isSurrogatePair(text, position - 2) ? 2 : 1;
    } else if (piece.text.charCodeAt(i) === text.charCodeAt(position - 1)) {
      position--;
    } else {
      return false;
    }
  }
  return position >= from;
}

function isSurrogatePair(text: string, at: number): boolean {
  const high = text.charCodeAt(at);
  if (high < 0xd800 || high > 0xdbff) return false;
  const low = text.charCodeAt(at + 1);
  return low >= 0xdc00 && low <= 0xdfff;
}
