import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import type { BytesHeld } from '#src/kernel/bytes-in-flight.ts';
import type { Deadlines } from '#src/kernel/deadlines.ts';
import type { Work } from '#src/kernel/work.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { measureJson } from '#src/protocol/json/json-measure.ts';

/** The client went away before its request had arrived: there is nobody to answer. */
export class ClientGone extends Error {
  /** We sent it away for what it did. */
  readonly isSentAway: boolean;

  constructor(isSentAway = false) {
    super('The client closed the connection.');
    this.name = 'ClientGone';
    this.isSentAway = isSentAway;
  }
}

/** Bytes of a body that is too large which are read and thrown away, so that the client gets to reading the answer. */
const DISCARD_BYTES = 16 * 1024 * 1024;
const EMPTY = Buffer.alloc(0);
/** Where the buffer of a body that comes in several pieces begins. */
const FIRST_BUFFER = 16 * 1024;
/** Up to here a body is not counted: that many requests of this size as may run at once do no harm. */
const SMALL_BODY = 4 * 1024;
/** Pieces that a body may come in, and one more for each of so many bytes. */
const FREE_PIECES = 256;
const BYTES_PER_PIECE = 64;

/** Whether so many bytes came in more pieces than any client needs: each costs as much as a small request. Clients that stream send kilobytes at a time. */
export const areTooManyPieces = (pieces: number, bytes: number): boolean =>
  pieces > FREE_PIECES + bytes / BYTES_PER_PIECE;

export const tooLarge = (limit: number): MatrixError =>
  new MatrixError('M_TOO_LARGE', `The body is larger than the ${limit} bytes that this endpoint takes.`);

export const tooSlow = (): MatrixError =>
  new MatrixError('M_UNKNOWN', 'The body of the request did not arrive in time.', {}, 408);

/** The budget of bytes in flight has no room for what a request needs. */
export const noRoom = (): MatrixError =>
  new MatrixError(
    'M_LIMIT_EXCEEDED',
    'This server has as much in its hands as it can hold at the moment: try again shortly.',
    { retry_after_ms: 2_000, 'org.tsudoi.limiter': 'bytes_in_flight' },
    503,
  );

/** How a body is read. */
export interface BodyReading {
  /** Bytes that it may have. */
  readonly limit: number;
  /** Milliseconds in which all of it must have arrived. */
  readonly timeoutMs: number;
  readonly deadlines: Deadlines;
  /** Takes what the body needs of the memory for bytes in flight. */
  readonly held: BytesHeld;
}

/**
 * Reads the body of a request into one buffer, which grows with what has arrived, not with what was declared.
 *
 * @throws MatrixError M_TOO_LARGE; M_UNKNOWN with status 408 when it arrives too slowly; M_LIMIT_EXCEEDED with status 503 when too many
 *   bytes are in flight
 * @throws ClientGone, also when it comes in more pieces than any client needs: then the connection is closed
 */
export const readBody = (request: IncomingMessage, reading: BodyReading): Promise<Buffer> => {
  const { limit, held } = reading;
  const length = request.headers['content-length'];
  if (length === '0' || (length === undefined && request.headers['transfer-encoding'] === undefined))
    return Promise.resolve(EMPTY);
  // Nothing tells of a client that is gone already: its body would be waited for until the deadline.
  if (request.destroyed) return Promise.reject(new ClientGone());
  const declared = length === undefined ? Infinity : Number(length);
  if (length !== undefined && declared > DISCARD_BYTES + limit) return Promise.reject(tooLarge(limit));

  return new Promise((resolve, reject) => {
    let buffer: Buffer = EMPTY;
    let size = 0;
    let pieces = 0;
    let refusal: MatrixError | undefined;
    const settle = (): void => {
      deadline.cancel();
      request.off('data', onData).off('end', onEnd).off('close', onGone).off('error', onGone);
    };
    const fail = (error: Error): void => {
      settle();
      // Without a listener for 'error' a connection that is reset now would bring the process down.
      request.on('error', () => {});
      reject(error);
    };
    /** The rest is thrown away as it comes: a client that is still sending does not read yet. */
    const refuse = (error: MatrixError): void => {
      refusal = error;
      buffer = EMPTY;
      held.release();
    };
    const grow = (): boolean => {
      const capacity = Math.min(Math.max(size, 2 * buffer.length, FIRST_BUFFER), declared, limit);
      if (capacity > SMALL_BODY && !held.hold('body', capacity)) return false;
      const larger = Buffer.allocUnsafeSlow(capacity);
      buffer.copy(larger);
      buffer = larger;
      return true;
    };
    const onData = (chunk: Buffer): void => {
      const before = size;
      size += chunk.length;
      pieces += 1;
      if (areTooManyPieces(pieces, size)) {
        // Nothing is answered: the pieces that are here already would be looked at one by one until the answer had left.
        fail(new ClientGone(true));
        request.destroy();
        return;
      }
      if (size > limit + DISCARD_BYTES) fail(tooLarge(limit));
      else if (refusal !== undefined) return;
      else if (size > limit) refuse(tooLarge(limit));
      else if (before === 0 && size === declared) {
        // Nearly always all of it is here at once: then it is used as it came.
        if (size > SMALL_BODY && !held.hold('body', size)) refuse(noRoom());
        else buffer = chunk;
      } else if (size <= buffer.length || grow()) chunk.copy(buffer, before);
      else refuse(noRoom());
    };
    const onEnd = (): void => {
      settle();
      if (refusal === undefined) resolve(buffer.subarray(0, size));
      else reject(refusal);
    };
    const onGone = (): void => fail(new ClientGone());
    const deadline = reading.deadlines.in(reading.timeoutMs, () => fail(refusal ?? tooSlow()));
    request.on('data', onData).on('end', onEnd).on('close', onGone).on('error', onGone);
  });
};

/** Deeper nesting than this serves nobody and would exhaust the stack of whatever walks the value later. */
const MAX_DEPTH = 256;

/** Shorter JSON is not worth measuring: there is a limit to what so many bytes can hold. */
const MEASURED_FROM = 16 * 1024;

const tooDeep = (): MatrixError => new MatrixError('M_BAD_JSON', `The JSON is nested deeper than ${MAX_DEPTH} levels.`);

/** Throws when the value cannot be an event's content. Appendices, "Canonical JSON"; the depth holds for every body. */
const inspect = (root: unknown, asEvent: boolean): void => {
  const check = (value: unknown, depth: number): void => {
    if (depth > MAX_DEPTH) throw tooDeep();
    if (typeof value === 'object' && value !== null) {
      if (Array.isArray(value)) for (const item of value) check(item, depth + 1);
      else
        for (const key in value) {
          if (asEvent && !key.isWellFormed()) throw loneSurrogate();
          check((value as Record<string, unknown>)[key], depth + 1);
        }
    } else if (asEvent) {
      if (typeof value === 'number' && !Number.isSafeInteger(value)) throw notInteger(value);
      if (typeof value === 'string' && !value.isWellFormed()) throw loneSurrogate();
    }
  };
  check(root, 0);
};

const notInteger = (value: unknown): MatrixError =>
  new MatrixError(
    'M_BAD_JSON',
    `The number ${String(value)} cannot be part of an event: only integers from -(2^53)+1 to (2^53)-1 can.`,
  );

const loneSurrogate = (): MatrixError =>
  new MatrixError('M_BAD_JSON', 'A string in the event holds half of a surrogate pair, which UTF-8 cannot express.');

/** A number written with a fraction or an exponent, or something in a string that looks like one. */
const MAYBE_FLOAT = /[:[,]\s*-?\d+[.eE]/;
const FLOAT = /[.eE]/;

/** `1.0` and `1e3` are gone once parsed; they are looked for only where the text may hold one. */
const refuseWrittenFloats = (text: string): void => {
  if (!MAYBE_FLOAT.test(text)) return;
  const reviver = (_key: string, value: unknown, context?: { source?: string }): unknown => {
    if (typeof value === 'number' && context?.source !== undefined && FLOAT.test(context.source))
      throw notInteger(context.source);
    return value;
  };
  JSON.parse(text, reviver as (key: string, value: unknown) => unknown);
};

/** Whether a body becomes the content of one event, or of several. */
export type EventBody = 'one' | 'several';

/** Client-Server API, "Size limits": bytes of a whole event. */
const MAX_EVENT_BYTES = 65_536;

/**
 * Parses a body whatever its Content-Type says: clients are careless about that header.
 *
 * @param events the body becomes the content of events: see `eventBody` in endpoint.ts
 * @param maxValues what it may hold, see `measureJson`
 * @param work is told how many there are where they are many
 * @throws MatrixError M_NOT_JSON (invalid UTF-8 included), M_BAD_JSON, M_TOO_LARGE
 */
export const parseBody = (bytes: Buffer, events: EventBody | undefined, maxValues: number, work?: Work): unknown => {
  if (!isUtf8(bytes)) throw new MatrixError('M_NOT_JSON', 'The body of the request is not valid UTF-8.');
  // Before it is parsed, which is where the time goes.
  const isLarge = bytes.length > MEASURED_FROM;
  if (isLarge) {
    const { values, depth } = measureJson(bytes, maxValues);
    if (work !== undefined) work.jsonValues = values;
    if (depth > MAX_DEPTH) throw tooDeep();
    if (values > maxValues)
      throw new MatrixError('M_TOO_LARGE', `The body holds more than the ${maxValues} values that a request may hold.`);
  }
  const text = bytes.toString('utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    const what =
      bytes.length === 0 ? 'The request has no body; JSON was expected.' : 'The body of the request is not valid JSON.';
    throw new MatrixError('M_NOT_JSON', what);
  }
  const asEvent = events !== undefined;
  if (asEvent || (bytes.length > MAX_DEPTH && !isLarge)) inspect(value, asEvent);
  if (asEvent) {
    refuseWrittenFloats(text);
    // Escapes and white space do not count: what counts is what will be stored.
    if (
      events === 'one' &&
      bytes.length > MAX_EVENT_BYTES &&
      Buffer.byteLength(JSON.stringify(value)) > MAX_EVENT_BYTES
    ) {
      throw new MatrixError('M_TOO_LARGE', `The event is larger than ${MAX_EVENT_BYTES} bytes.`);
    }
  }
  return value;
};
