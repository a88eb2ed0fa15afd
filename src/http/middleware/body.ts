import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import type { Timers } from '#src/kernel/timers.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';

/** The client went away before its request had arrived: there is nobody to answer. */
export class ClientGone extends Error {
  constructor() {
    super('The client closed the connection.');
    this.name = 'ClientGone';
  }
}

/** Bytes of a body that is too large which are read and thrown away, so that the client gets to reading the answer. */
const DISCARD_BYTES = 16 * 1024 * 1024;
const EMPTY = Buffer.alloc(0);

export const tooLarge = (limit: number): MatrixError =>
  new MatrixError('M_TOO_LARGE', `The body is larger than the ${limit} bytes that this endpoint takes.`);

/**
 * Reads the body of a request.
 *
 * @param limit bytes
 * @param timeoutMs milliseconds in which all of it must have arrived
 * @throws MatrixError M_TOO_LARGE; M_UNKNOWN with status 408 when it arrives too slowly
 * @throws ClientGone
 */
export const readBody = (
  request: IncomingMessage,
  limit: number,
  timers: Timers,
  timeoutMs: number,
): Promise<Buffer> => {
  const declared = request.headers['content-length'];
  if (declared === '0' || (declared === undefined && request.headers['transfer-encoding'] === undefined))
    return Promise.resolve(EMPTY);
  if (declared !== undefined && Number(declared) > DISCARD_BYTES + limit) return Promise.reject(tooLarge(limit));

  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const settle = (): void => {
      timer.cancel();
      request.off('data', onData).off('end', onEnd).off('close', onGone).off('error', onGone);
    };
    const fail = (error: Error): void => {
      settle();
      // Without a listener for 'error' a connection that is reset now would bring the process down.
      request.on('error', () => {});
      reject(error);
    };
    const onData = (chunk: Buffer): void => {
      size += chunk.length;
      if (size <= limit) chunks.push(chunk);
      else if (size > limit + DISCARD_BYTES) fail(tooLarge(limit));
      else chunks.length = 0;
    };
    const onEnd = (): void => {
      settle();
      if (size > limit) reject(tooLarge(limit));
      else resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks));
    };
    const onGone = (): void => fail(new ClientGone());
    const timer = timers.after(timeoutMs, () =>
      fail(new MatrixError('M_UNKNOWN', 'The body of the request did not arrive in time.', {}, 408)),
    );
    request.on('data', onData).on('end', onEnd).on('close', onGone).on('error', onGone);
  });
};

/** Deeper nesting than this serves nobody and would exhaust the stack of whatever walks the value later. */
const MAX_DEPTH = 256;

/** Throws when the value cannot be an event's content. Appendices, "Canonical JSON"; the depth holds for every body. */
const inspect = (root: unknown, asEvent: boolean): void => {
  const check = (value: unknown, depth: number): void => {
    if (depth > MAX_DEPTH) throw new MatrixError('M_BAD_JSON', `The JSON is nested deeper than ${MAX_DEPTH} levels.`);
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

/** Client-Server API, "Size limits": bytes of a whole event. */
const MAX_EVENT_BYTES = 65_536;

/**
 * Parses a body whatever its Content-Type says: clients are careless about that header.
 *
 * @param asEvent the body becomes an event's content: see `eventBody` in endpoint.ts
 * @throws MatrixError M_NOT_JSON (invalid UTF-8 included), M_BAD_JSON, M_TOO_LARGE
 */
export const parseBody = (bytes: Buffer, asEvent: boolean): unknown => {
  if (!isUtf8(bytes)) throw new MatrixError('M_NOT_JSON', 'The body of the request is not valid UTF-8.');
  const text = bytes.toString('utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    const what =
      bytes.length === 0 ? 'The request has no body; JSON was expected.' : 'The body of the request is not valid JSON.';
    throw new MatrixError('M_NOT_JSON', what);
  }
  if (asEvent || bytes.length > MAX_DEPTH) inspect(value, asEvent);
  if (asEvent) {
    refuseWrittenFloats(text);
    // Escapes and white space do not count: what counts is what will be stored.
    if (bytes.length > MAX_EVENT_BYTES && Buffer.byteLength(JSON.stringify(value)) > MAX_EVENT_BYTES) {
      throw new MatrixError('M_TOO_LARGE', `The event is larger than ${MAX_EVENT_BYTES} bytes.`);
    }
  }
  return value;
};
