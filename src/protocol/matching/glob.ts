/**
 * Glob-style matching: `*` stands for zero or more characters, `?` for exactly one (appendices, "Glob-style matching").
 *
 * Patterns come from users and are run over text from other users, so they are never turned into regular expressions:
 * the matcher below takes time proportional to pattern x text, whatever the pattern.
 */

const QUESTION_MARK = 0x3f;

/** A parsed pattern: the pieces between its asterisks. */
export interface Glob {
  readonly pattern: string;
  /** At least one; an empty first or last piece means that the pattern starts or ends with an asterisk. */
  readonly pieces: readonly GlobPiece[];
}

interface GlobPiece {
  readonly text: string;
  /** Whether `?` occurs in it. */
  readonly wild: boolean;
}

/** Parses a pattern once, for many matches. Case is significant: whoever wants to ignore it folds pattern and text. */
export function parseGlob(pattern: string): Glob {
  return { pattern, pieces: pattern.split('*').map((text) => ({ text, wild: text.includes('?') })) };
}

/** A pattern without wildcards: every character stands for itself. */
export function literalGlob(text: string): Glob {
  return { pattern: text, pieces: [{ text, wild: false }] };
}

/** Whether the pattern matches the whole of the text. */
export function globMatches(glob: Glob, text: string): boolean {
  const { pieces } = glob;
  const first = pieces[0]!;
  if (pieces.length === 1 && !first.wild) return text === first.text;
  let at = pieceEndsAt(first, text, 0);
  if (pieces.length === 1) return at === text.length;
  for (let i = 1; i < pieces.length - 1 && at >= 0; i++) at = findPiece(pieces[i]!, text, at);
  if (at < 0) return false;
  return endsWithPiece(pieces[pieces.length - 1]!, text, at, (end) => end === text.length);
}

/**
 * Whether the pattern matches some part of the text that starts and ends at a word boundary: the start or end of the
 * text, or any character other than `A-Z a-z 0-9 _` (Client-Server API, "Push Rules").
 */
export function globMatchesWords(glob: Glob, text: string): boolean {
  const { pieces } = glob;
  const first = pieces[0]!;
  const isEnd = (end: number): boolean => isWordBoundary(text, end);
  if (pieces.length === 1) {
    for (let at = 0; at <= text.length; at++) {
      const start = startOfPiece(first, text, at);
      if (start < 0) return false;
      const end = pieceEndsAt(first, text, start);
      if (isWordBoundary(text, start) && isEnd(end)) return true;
      at = start;
    }
    return false;
  }
  // With an asterisk after it, the earliest place for a piece leaves the most room for those that follow.
  let after = -1;
  for (let at = 0; at <= text.length; at++) {
    const start = startOfPiece(first, text, at);
    if (start < 0) return false;
    if (isWordBoundary(text, start)) {
      after = pieceEndsAt(first, text, start);
      break;
    }
    at = start;
  }
  for (let i = 1; i < pieces.length - 1 && after >= 0; i++) after = findPiece(pieces[i]!, text, after);
  if (after < 0) return false;
  return endsWithPiece(pieces[pieces.length - 1]!, text, after, isEnd);
}

/** A position touches a boundary if it is an end of the text or has a non-word character on either side. */
function isWordBoundary(text: string, at: number): boolean {
  return at === 0 || at === text.length || !isWordUnit(text.charCodeAt(at - 1)) || !isWordUnit(text.charCodeAt(at));
}

function isWordUnit(unit: number): boolean {
  return (
    (unit >= 0x61 && unit <= 0x7a) || (unit >= 0x41 && unit <= 0x5a) || (unit >= 0x30 && unit <= 0x39) || unit === 0x5f
  );
}

/** Where the piece ends if it stands at this place, or -1. */
function pieceEndsAt(piece: GlobPiece, text: string, at: number): number {
  if (!piece.wild) return text.startsWith(piece.text, at) ? at + piece.text.length : -1;
  let position = at;
  for (let i = 0; i < piece.text.length; i++) {
    if (position >= text.length) return -1;
    if (piece.text.charCodeAt(i) === QUESTION_MARK) {
      position += isSurrogatePair(text, position) ? 2 : 1;
    } else if (piece.text.charCodeAt(i) === text.charCodeAt(position)) {
      position++;
    } else {
      return -1;
    }
  }
  return position;
}

/** The first place from `from` on at which the piece stands, or -1. */
function startOfPiece(piece: GlobPiece, text: string, from: number): number {
  if (!piece.wild) return text.indexOf(piece.text, from);
  for (let at = from; at < text.length; at++) {
    if (at > 0 && isSurrogatePair(text, at - 1)) continue;
    if (pieceEndsAt(piece, text, at) >= 0) return at;
  }
  return -1;
}

/** Where the first occurrence of the piece from `from` on ends, or -1. */
function findPiece(piece: GlobPiece, text: string, from: number): number {
  const start = startOfPiece(piece, text, from);
  return start < 0 ? -1 : pieceEndsAt(piece, text, start);
}

/** Whether the last piece occurs from `from` on with an end that is acceptable. */
function endsWithPiece(piece: GlobPiece, text: string, from: number, accepts: (end: number) => boolean): boolean {
  if (piece.text === '') return true; // a trailing asterisk reaches to the end of the text
  for (let at = from; at <= text.length; at++) {
    const start = startOfPiece(piece, text, at);
    if (start < 0) return false;
    if (accepts(pieceEndsAt(piece, text, start))) return true;
    at = start;
  }
  return false;
}

function isSurrogatePair(text: string, at: number): boolean {
  const high = text.charCodeAt(at);
  if (high < 0xd800 || high > 0xdbff) return false;
  const low = text.charCodeAt(at + 1);
  return low >= 0xdc00 && low <= 0xdfff;
}
