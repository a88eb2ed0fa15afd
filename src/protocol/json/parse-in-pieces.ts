import { isUtf8 } from 'node:buffer';

/** Bytes of JSON from which on it is parsed in pieces, and bytes of these that are parsed in one turn of the event loop. */
export const LARGE_JSON = 256 * 1024;
export const PIECES_AT_ONCE = 32 * 1024;
/** Bytes that are parsed in one piece, and bytes that are looked through in one. */
const PIECE_BYTES = 16 * 1024;
const SCANNED_BYTES = 256 * 1024;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPENS_ARRAY = 0x5b;
const CLOSES_ARRAY = 0x5d;
const OPENS_OBJECT = 0x7b;
const CLOSES_OBJECT = 0x7d;

const isSpace = (byte: number | undefined): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

const noJson = (): SyntaxError => new SyntaxError('This is not valid JSON.');

/** Where the string ends that begins at `at`: the place of its closing quotation mark, or the end of the text. */
const endOfText = (bytes: Uint8Array, at: number): number => {
  let end = at + 1;
  for (let byte = bytes[end]; byte !== QUOTE && end < bytes.length; byte = bytes[end])
    end += byte === BACKSLASH ? 2 : 1;
  return Math.min(end, bytes.length);
};

/** The first place from `at` on that is no white space. */
const afterSpace = (bytes: Uint8Array, at: number): number => {
  let next = at;
  while (isSpace(bytes[next])) next += 1;
  return next;
};

/** JSON that is looked through, before it is parsed. */
export interface IndexedJson {
  readonly bytes: Buffer;
  /** As `measureJson` counts them. */
  readonly values: number;
  readonly depth: number;
  /** Where the arrays and objects end that are too large for one piece, by where they begin. */
  readonly large: ReadonlyMap<number, number>;
  readonly pieceBytes: number;
}

/** What JSON may hold. */
export interface JsonBounds {
  readonly values: number;
  readonly depth: number;
}

/**
 * Looks JSON through. Yields the bytes that it has done since, so that the caller can let others have a turn; ends early where there is
 * more than there may be.
 *
 * @throws SyntaxError for what is no UTF-8, and for brackets that do not belong together
 */
export function* indexJson(bytes: Buffer, most: JsonBounds, pieceBytes = PIECE_BYTES): Generator<number, IndexedJson> {
  if (!isUtf8(bytes)) throw noJson();
  const large = new Map<number, number>();
  const open: number[] = [];
  let values = 1;
  let depth = 0;
  let yielded = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at] as number;
    if (byte === QUOTE) at = endOfText(bytes, at);
    else if (byte === COMMA || byte === COLON) values += 1;
    else if (byte === OPENS_ARRAY || byte === OPENS_OBJECT) {
      values += 1;
      open.push(at);
      depth = Math.max(depth, open.length);
    } else if (byte === CLOSES_ARRAY || byte === CLOSES_OBJECT) {
      const start = open.pop();
      if (start === undefined || bytes[start] !== (byte === CLOSES_ARRAY ? OPENS_ARRAY : OPENS_OBJECT)) throw noJson();
      if (at - start >= pieceBytes) large.set(start, at);
    }
    if (at - yielded >= SCANNED_BYTES) {
      yield at - yielded;
      yielded = at;
    }
    if (values > most.values || depth > most.depth) return { bytes, values, depth, large, pieceBytes };
  }
  if (open.length > 0) throw noJson();
  return { bytes, values, depth, large, pieceBytes };
}

/** Sets members as `JSON.parse` does, whatever their names are. */
const setMember = (object: Record<string, unknown>, name: string, value: unknown): void => {
  if (name === '__proto__')
    Object.defineProperty(object, name, { value, configurable: true, enumerable: true, writable: true });
  else object[name] = value;
};

/** One array or object that is too large for one piece: its elements are parsed in groups, those that are large themselves one by one. */
class LargeContainer {
  readonly #json: IndexedJson;
  readonly #isArray: boolean;
  readonly #start: number;
  #elements: unknown[] | undefined;
  #members: Record<string, unknown> | undefined;

  constructor(json: IndexedJson, start: number) {
    this.#json = json;
    this.#isArray = json.bytes[start] === OPENS_ARRAY;
    this.#start = start;
  }

  *parse(): Generator<number, unknown> {
    const { bytes, large, pieceBytes } = this.#json;
    const end = large.get(this.#start) as number;
    let begun = this.#start + 1;
    let depth = 0;
    /** Where the latest string directly in the container is: before a colon it is the name of a member. */
    let name = { start: begun, end: begun };
    let isAfterComma = false;
    for (let at = begun; at < end; at += 1) {
      const byte = bytes[at] as number;
      if (byte === QUOTE) {
        const close = endOfText(bytes, at);
        if (depth === 0) name = { start: at, end: close + 1 };
        at = close;
      } else if (byte === CLOSES_ARRAY || byte === CLOSES_OBJECT) depth -= 1;
      else if (byte === OPENS_ARRAY || byte === OPENS_OBJECT) {
        const endOfLarge = large.get(at);
        if (endOfLarge === undefined) {
          depth += 1;
          continue;
        }
        const label = this.#isArray ? undefined : (JSON.parse(bytes.toString('utf8', name.start, name.end)) as string);
        this.#add(`${bytes.toString('utf8', begun, at)}null`, true);
        yield at - begun;
        const value = yield* new LargeContainer(this.#json, at).parse();
        if (label === undefined) (this.#elements as unknown[])[this.#elements!.length - 1] = value;
        else setMember(this.#members as Record<string, unknown>, label, value);
        at = afterSpace(bytes, endOfLarge + 1);
        if (at === end) return this.#elements ?? this.#members;
        if (bytes[at] !== COMMA) throw noJson();
        begun = at + 1;
        isAfterComma = true;
      } else if (byte === COMMA && depth === 0 && at - begun >= pieceBytes) {
        this.#add(bytes.toString('utf8', begun, at), true);
        yield at - begun;
        begun = at + 1;
        isAfterComma = true;
      }
    }
    this.#add(bytes.toString('utf8', begun, end), isAfterComma);
    yield end - begun;
    return this.#elements ?? this.#members;
  }

  /** @param text elements or members as they stand, with commas between them */
  #add(text: string, needsSome: boolean): void {
    if (this.#isArray) {
      const elements = JSON.parse(`[${text}]`) as unknown[];
      if (needsSome && elements.length === 0) throw noJson();
      if (this.#elements === undefined) this.#elements = elements;
      else for (const element of elements) this.#elements.push(element);
      return;
    }
    const members = JSON.parse(`{${text}}`) as Record<string, unknown>;
    const names = Object.keys(members);
    if (needsSome && names.length === 0) throw noJson();
    if (this.#members === undefined) this.#members = members;
    else for (const name of names) setMember(this.#members, name, members[name]);
  }
}

/**
 * Parses JSON that was looked through, in pieces of some kilobytes. Yields the bytes that it has done since; returns what `JSON.parse` would.
 *
 * @param json not nested deeper than the stack allows
 * @throws SyntaxError for what is no JSON
 */
export function* parseInPieces(json: IndexedJson): Generator<number, unknown> {
  const { bytes, large } = json;
  const start = afterSpace(bytes, 0);
  const end = large.get(start);
  if (end === undefined) return JSON.parse(bytes.toString('utf8'));
  if (afterSpace(bytes, end + 1) !== bytes.length) throw noJson();
  return yield* new LargeContainer(json, start).parse();
}
