/**
 * Rows of state as they lie in the database: bytes instead of arrays of eight bytes a number.
 *
 * Entries are a list of pairs, ascending by state key: the key's distance from the one before (from 0 for the first), and a code
 * for the event. Code 0 takes the entry out; 1 says that the event's position follows in full, zigzagged; any other is
 * `2 + (nid - position) / 16`: the events of a state lie before it in its shard. Numbers are LEB128, the lowest 7 bits first.
 *
 * A chain is read by SQL, too: a byte that says how many bytes a number takes, and then for each earlier row, the oldest first,
 * `nid` minus its id, with the highest byte first. Widths up to 6 hold what is not negative, 8 holds anything (two's complement).
 */
import { SHARDS } from './position.ts';

/** Entries of a state: `keys` ascend, and `events[i]` belongs to `keys[i]`; event 0 takes the entry out. */
export interface EntryArrays {
  readonly keys: Int32Array;
  readonly events: Float64Array;
}

const OUT = 0;
const IN_FULL = 1;
const FIRST_DISTANCE = 2;
/** Bytes of the largest safe integer, zigzagged. */
const MAX_NUMBER_BYTES = 8;
const MAX_KEY = 2 ** 31 - 1;
const WIDEST_DISTANCE = 6;
const ANY_WIDTH = 8;

class PackedStateError extends Error {
  constructor(what: string) {
    super(`packed state is damaged: ${what}`);
    this.name = 'PackedStateError';
  }
}

const numberSize = (value: number): number => {
  let size = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) size++;
  return size;
};

const writeNumber = (bytes: Uint8Array, at: number, value: number): number => {
  let rest = value;
  let next = at;
  // Within 31 bits shifts are exact, and much faster than divisions.
  for (; rest > 0x7fffffff; rest = Math.floor(rest / 128)) bytes[next++] = (rest % 128) | 128;
  for (; rest >= 128; rest >>>= 7) bytes[next++] = (rest & 127) | 128;
  bytes[next++] = rest;
  return next;
};

/** Negative ones become odd. Exact for positions of up to 52 bits. */
const zigzag = (value: number): number => (value < 0 ? -2 * value - 1 : 2 * value);
const unzigzag = (value: number): number => (value % 2 === 0 ? value / 2 : -(value + 1) / 2);

/** What the event is written as. */
const codeOf = (nid: number, event: number): number => {
  if (event === 0) return OUT;
  const distance = nid - event;
  return distance >= 0 && distance % SHARDS === 0 ? FIRST_DISTANCE + distance / SHARDS : IN_FULL;
};

/**
 * @param nid id of the state whose row it is
 * @throws RangeError for keys that do not ascend, and positions beyond 52 bits
 */
export const packEntries = (nid: number, { keys, events }: EntryArrays): Uint8Array<ArrayBuffer> => {
  let size = 0;
  let before = 0;
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] ?? 0;
    const event = events[i] ?? 0;
    if (key < before || (i > 0 && key === before)) throw new RangeError('state keys have to ascend');
    if (!Number.isInteger(event) || Math.abs(event) >= 2 ** 52) throw new RangeError(`${event} is no position`);
    const code = codeOf(nid, event);
    size += numberSize(key - before) + numberSize(code);
    if (code === IN_FULL) size += numberSize(zigzag(event));
    before = key;
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  before = 0;
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] ?? 0;
    const event = events[i] ?? 0;
    const code = codeOf(nid, event);
    at = writeNumber(bytes, writeNumber(bytes, at, key - before), code);
    if (code === IN_FULL) at = writeNumber(bytes, at, zigzag(event));
    before = key;
  }
  return bytes;
};

/** Reads numbers one after the other without making an object for any of them. */
class NumberReader {
  readonly #bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  next(): number {
    const bytes = this.#bytes;
    const begin = this.at;
    let byte = bytes[this.at++];
    if (byte === undefined) throw new PackedStateError('it ends within an entry');
    if (byte < 128) return byte;
    let value = byte & 127;
    for (let scale = 128; ; scale *= 128) {
      byte = bytes[this.at++];
      if (byte === undefined) throw new PackedStateError('it ends within a number');
      value += (byte & 127) * scale;
      if (byte < 128) break;
      if (this.at - begin >= MAX_NUMBER_BYTES) throw new PackedStateError('a number is too long');
    }
    if (byte === 0 || value > Number.MAX_SAFE_INTEGER) throw new PackedStateError('a number is out of bounds');
    return value;
  }
}

/**
 * @param nid id of the state whose row it is
 * @throws for bytes that `packEntries` does not make
 */
export const unpackEntries = (nid: number, bytes: Uint8Array): EntryArrays => {
  // An entry takes two bytes at least.
  const most = bytes.length >> 1;
  const keys = new Int32Array(most);
  const events = new Float64Array(most);
  const reader = new NumberReader(bytes);
  let count = 0;
  let key = 0;
  while (reader.at < bytes.length) {
    const step = reader.next();
    if (step === 0 && count > 0) throw new PackedStateError('state keys do not ascend');
    key += step;
    if (key > MAX_KEY) throw new PackedStateError('a state key is out of bounds');
    const code = reader.next();
    let event = 0;
    if (code >= FIRST_DISTANCE) event = nid - (code - FIRST_DISTANCE) * SHARDS;
    else if (code === IN_FULL) event = unzigzag(reader.next());
    if (code !== OUT && (Math.abs(event) >= 2 ** 52 || codeOf(nid, event) !== code)) {
      throw new PackedStateError('a position is out of bounds');
    }
    keys[count] = key;
    events[count] = event;
    count++;
  }
  return count === most ? { keys, events } : { keys: keys.slice(0, count), events: events.slice(0, count) };
};

/** @throws RangeError for ids that are no safe integers */
export const packChain = (nid: number, earlier: readonly number[]): Uint8Array<ArrayBuffer> => {
  if (earlier.length === 0) return new Uint8Array(0);
  let largest = 0;
  let isAscending = true;
  for (const id of earlier) {
    const distance = nid - id;
    if (!Number.isSafeInteger(distance)) throw new RangeError(`${id} is no id of a state`);
    if (distance < 0) isAscending = false;
    largest = Math.max(largest, distance);
  }
  let width = 1;
  while (width <= WIDEST_DISTANCE && largest >= 256 ** width) width++;
  if (!isAscending || width > WIDEST_DISTANCE) width = ANY_WIDTH;
  const bytes = new Uint8Array(1 + width * earlier.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = width;
  for (const [index, id] of earlier.entries()) {
    const at = 1 + index * width;
    if (width === ANY_WIDTH) {
      view.setBigInt64(at, BigInt(nid - id));
      continue;
    }
    let rest = nid - id;
    for (let place = at + width - 1; place >= at; place--) {
      bytes[place] = rest % 256;
      rest = Math.floor(rest / 256);
    }
  }
  return bytes;
};

/** @throws for bytes that `packChain` does not make */
export const unpackChain = (nid: number, bytes: Uint8Array): number[] => {
  const width = bytes[0];
  if (width === undefined) return [];
  const isKnown = width === ANY_WIDTH || (width >= 1 && width <= WIDEST_DISTANCE);
  if (!isKnown || bytes.length === 1 || (bytes.length - 1) % width !== 0) {
    throw new PackedStateError('its chain has no such length');
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const earlier: number[] = [];
  for (let at = 1; at < bytes.length; at += width) {
    let distance = 0;
    if (width === ANY_WIDTH) distance = Number(view.getBigInt64(at));
    else for (let place = at; place < at + width; place++) distance = distance * 256 + view.getUint8(place);
    if (!Number.isSafeInteger(nid - distance)) throw new PackedStateError('an id of its chain is out of bounds');
    earlier.push(nid - distance);
  }
  return earlier;
};
