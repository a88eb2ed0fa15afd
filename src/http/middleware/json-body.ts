import { isUtf8 } from 'node:buffer';
import { setImmediate } from 'node:timers/promises';
import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import type { Work } from '#src/kernel/event-loop/work.ts';
import { MAX_EVENT_BYTES } from '#src/protocol/events/pdu-format.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { measureJson } from '#src/protocol/json/json-measure.ts';
import { indexJson, parseInPieces, PIECES_AT_ONCE } from '#src/protocol/json/parse-in-pieces.ts';
import { notInteger, refuseWrittenFloats } from '#src/protocol/json/written-floats.ts';

/** Deeper nesting is of no use, and would exhaust the stack of code that walks the value later. */
export const MAX_DEPTH = 256;

/** Shorter JSON is not measured: it cannot hold many values. */
const MEASURED_FROM = 2 * 1024;

const tooManyValues = (most: number): MatrixError =>
  new MatrixError('M_TOO_LARGE', `The body holds more than the ${most} values that a request may hold.`);

const notJson = (): MatrixError => new MatrixError('M_NOT_JSON', 'The body of the request is not valid JSON.');

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

const loneSurrogate = (): MatrixError =>
  new MatrixError('M_BAD_JSON', 'A string in the event holds half of a surrogate pair, which UTF-8 cannot express.');

/** Whether a body becomes the content of one event, or of several. */
export type EventBody = 'one' | 'several';

/**
 * Parses a body whatever its Content-Type says: clients are careless about that header.
 *
 * @param events the body becomes the content of events: see `eventBody` in endpoint.ts
 * @param maxValues what it may hold, see `measureJson`
 * @param work charged for the number of JSON values, if it is large
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
    if (values > maxValues) throw tooManyValues(maxValues);
  }
  const text = bytes.toString('utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    if (bytes.length > 0) throw notJson();
    throw new MatrixError('M_NOT_JSON', 'The request has no body; JSON was expected.');
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

/**
 * Parses a large body that does not become the content of events, in several turns of the event loop.
 *
 * @param maxValues what it may hold, see `measureJson`
 * @param work is told how many values there are, and waits for its turns
 * @throws MatrixError M_NOT_JSON (invalid UTF-8 included), M_BAD_JSON, M_TOO_LARGE
 */
export const parseLargeBody = async (bytes: Buffer, maxValues: number, work: Work): Promise<unknown> => {
  const loop = new LoopYield(PIECES_AT_ONCE, async () => {
    await setImmediate();
    await work.resume?.();
  });
  try {
    const indexed = await loop.run(indexJson(bytes, { values: maxValues, depth: MAX_DEPTH }));
    work.jsonValues = indexed.values;
    if (indexed.depth > MAX_DEPTH) throw tooDeep();
    if (indexed.values > maxValues) throw tooManyValues(maxValues);
    return await loop.run(parseInPieces(indexed));
  } catch (error) {
    throw error instanceof SyntaxError ? notJson() : error;
  }
};
