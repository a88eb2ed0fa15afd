/** A list of events in the answer of `send_join`, or of `GET /state`. */
export type EventList = 'state' | 'auth_chain';

/** A piece of the answer: one event of a list, or one of the other members that matter. */
export type AnswerPart =
  | { readonly kind: 'event'; readonly list: EventList; readonly json: Buffer }
  | { readonly kind: 'member'; readonly name: string; readonly json: Buffer };

/** What an answer may have at most. */
export interface AnswerBounds {
  /** Bytes in all. */
  readonly bytes: number;
  /** Events in both lists together. */
  readonly events: number;
  /** Bytes of one event. A PDU has 65 536 at most, and what is `unsigned` beside. */
  readonly eventBytes: number;
  /** Bytes of another member. */
  readonly memberBytes: number;
}

/** The answer is not what the specification says, or exceeds its bounds. */
export class BadAnswerError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'BadAnswerError';
  }
}

/** The answer has more than this server reads, however good it is: a room may be as large as that. */
export class TooLongAnswerError extends BadAnswerError {}

/** Extra bytes that the HTTP client accepts beyond the limit, so that the reader reports the error. */
export const MORE_BYTES = 1024 * 1024;

/** By the name of a member. `GET /state` calls the state "pdus". */
const LISTS: ReadonlyMap<string, EventList> = new Map([
  ['state', 'state'],
  ['pdus', 'state'],
  ['auth_chain', 'auth_chain'],
]);
const MEMBERS: ReadonlySet<string> = new Set(['event', 'members_omitted', 'servers_in_room', 'knock_room_state']);
const MAX_DEPTH = 1_000;
/** Of the name of a member; longer ones are none that we know. */
const MAX_NAME_LENGTH = 64;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

/**
 * Cuts the answer of `send_join` into its events while it arrives, so that it is never in memory as a whole. The caller
 * parses the JSON of each part. An answer of version 1 of the endpoint, which stands in a list after its status, is cut the same way.
 *
 * @throws BadAnswerError
 */
export class JoinAnswerSplitter {
  readonly #bounds: AnswerBounds;
  #bytes = 0;
  #events = 0;
  /** Of what is being read, counted from the answer's object: 1 is within it. 0 before it begins. */
  #depth = 0;
  #isOver = false;
  #inString = false;
  #isEscaped = false;
  /** The name of the member whose value is being read; undefined while its name is. */
  #name: string | undefined;
  /** What is being read is one of the elements of a list of events. */
  #list: EventList | undefined;
  /** Pieces of what is being read, as far as it lies in earlier chunks; undefined when nothing is kept of it. */
  #kept: Buffer[] | undefined;
  #keptBytes = 0;
  /** Where what is being read begins in the present chunk; -1 while nothing is. */
  #start = -1;
  /** At which depth what is being read ends. */
  #floor = 0;

  constructor(bounds: AnswerBounds) {
    this.#bounds = bounds;
  }

  /** Takes the next bytes. @returns the parts that they complete */
  push(chunk: Buffer): AnswerPart[] {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#bounds.bytes)
      throw new TooLongAnswerError(`The answer has more than ${this.#bounds.bytes} bytes.`);
    const parts: AnswerPart[] = [];
    if (this.#start >= 0) this.#start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at] as number;
      if (this.#inString) {
        if (this.#isEscaped) this.#isEscaped = false;
        else if (byte === BACKSLASH) this.#isEscaped = true;
        else if (byte === QUOTE) {
          this.#inString = false;
          this.#endOfValue(chunk, at + 1, parts);
        }
        continue;
      }
      this.#step(byte, chunk, at, parts);
    }
    if (this.#start >= 0) this.#keep(chunk.subarray(this.#start));
    return parts;
  }

  /** Ends the input. @throws BadAnswerError when the response is incomplete */
  end(): void {
    if (!this.#isOver) throw new BadAnswerError('The answer was broken off.');
  }

  #step(byte: number, chunk: Buffer, at: number, parts: AnswerPart[]): void {
    if (this.#isOver) return;
    if (this.#depth === 0) {
      // `[200,` may stand before it.
      if (byte === OPEN_OBJECT) this.#depth = 1;
      else if (byte === QUOTE || byte === CLOSE_LIST || byte === CLOSE_OBJECT)
        throw new BadAnswerError('The answer is no object.');
      return;
    }
    switch (byte) {
      case QUOTE:
        this.#begin(at);
        this.#inString = true;
        return;
      case OPEN_OBJECT:
      case OPEN_LIST:
        this.#open(byte, at);
        return;
      case CLOSE_OBJECT:
      case CLOSE_LIST:
        this.#close(byte, chunk, at, parts);
        return;
      case COMMA:
        this.#endOfValue(chunk, at, parts);
        if (this.#depth === 1) this.#name = undefined;
        return;
      case COLON:
        return;
      default:
        if (!isSpace(byte)) this.#begin(at);
        else this.#endOfValue(chunk, at, parts);
    }
  }

  #open(byte: number, at: number): void {
    const list = this.#name === undefined ? undefined : LISTS.get(this.#name);
    if (this.#depth === 1 && byte === OPEN_LIST && list !== undefined) {
      this.#list = list;
      this.#depth = 2;
      return;
    }
    this.#begin(at);
    this.#depth += 1;
    if (this.#depth > MAX_DEPTH) throw new BadAnswerError(`The answer has more than ${MAX_DEPTH} levels.`);
  }

  #close(byte: number, chunk: Buffer, at: number, parts: AnswerPart[]): void {
    // A number or a word that stands last ends here.
    this.#endOfValue(chunk, at, parts);
    this.#depth -= 1;
    if (this.#depth === 0) this.#isOver = true;
    else if (this.#depth === 1 && this.#list !== undefined && byte === CLOSE_LIST) this.#list = undefined;
    else this.#endOfValue(chunk, at + 1, parts);
  }

  /** Something begins: the name of a member, its value, or an event of a list. */
  #begin(at: number): void {
    if (this.#start >= 0) return;
    this.#start = at;
    this.#floor = this.#depth;
    this.#keptBytes = 0;
    const isWanted = this.#list !== undefined || this.#name === undefined || MEMBERS.has(this.#name);
    this.#kept = isWanted ? [] : undefined;
  }

  /** What is being read ends here, if anything is that does not lie deeper. */
  #endOfValue(chunk: Buffer, end: number, parts: AnswerPart[]): void {
    if (this.#start >= 0 && this.#depth === this.#floor) this.#finish(chunk, end, parts);
  }

  #finish(chunk: Buffer, end: number, parts: AnswerPart[]): void {
    this.#keep(chunk.subarray(this.#start, end));
    const kept = this.#kept;
    this.#start = -1;
    this.#kept = undefined;
    if (kept === undefined) return;
    const json = kept.length === 1 ? (kept[0] ?? Buffer.alloc(0)) : Buffer.concat(kept);
    if (this.#list !== undefined) {
      this.#events += 1;
      if (this.#events > this.#bounds.events)
        throw new TooLongAnswerError(`The answer has more than ${this.#bounds.events} events.`);
      parts.push({ kind: 'event', list: this.#list, json });
    } else if (this.#name === undefined) this.#name = nameIn(json);
    else parts.push({ kind: 'member', name: this.#name, json });
  }

  #keep(piece: Buffer): void {
    if (this.#kept === undefined) return;
    this.#keptBytes += piece.length;
    const { eventBytes, memberBytes } = this.#bounds;
    const most = this.#list === undefined ? memberBytes : eventBytes;
    if (this.#keptBytes > most) throw new BadAnswerError(`A part of the answer has more than ${most} bytes.`);
    if (piece.length > 0) this.#kept.push(piece);
  }
}

/** The name of a member; the empty one for what is none that we know. @throws BadAnswerError */
const nameIn = (json: Buffer): string => {
  if (json[0] !== QUOTE) throw new BadAnswerError('The answer is not JSON.');
  return json.length > MAX_NAME_LENGTH ? '' : json.subarray(1, -1).toString('utf8');
};
