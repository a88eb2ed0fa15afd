import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import { measureJson } from '#src/protocol/json/json-measure.ts';
import { isJsonObject, type JsonObject, MAX_JSON_DEPTH } from '#src/protocol/json/json-value.ts';
import { indexJson, LARGE_JSON, parseInPieces, PIECES_AT_ONCE } from '#src/protocol/json/parse-in-pieces.ts';
import { DAY_MS } from '#src/kernel/dates.ts';

/** Values that the JSON of a response may hold: one for so many bytes, and so many in any case. */
const BYTES_PER_VALUE = 16;
const LEAST_VALUES = 100_000;
/** The longest `retry_after_ms` that counts. */
const MAX_WAIT_MS = DAY_MS;

/**
 * The JSON object of a response; undefined for anything else, and for more values or depth than a response may have. Large ones are parsed in
 * several turns of the event loop.
 *
 * @param weigh called with how many values there are before they are made; it throws when there is no room for them
 */
export const parsedObject = async (
  bytes: Buffer,
  most: number,
  weigh?: (values: number) => Promise<void>,
): Promise<JsonObject | undefined> => {
  const maxValues = Math.max(LEAST_VALUES, most / BYTES_PER_VALUE);
  const bounds = { values: maxValues, depth: MAX_JSON_DEPTH };
  const loop = new LoopYield(PIECES_AT_ONCE);
  try {
    const indexed = bytes.length < LARGE_JSON ? undefined : await loop.run(indexJson(bytes, bounds));
    const { depth, values } = indexed ?? measureJson(bytes, maxValues);
    if (depth > bounds.depth || values > bounds.values) return undefined;
    await weigh?.(values);
    const value: unknown =
      indexed === undefined
        ? JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
        : await loop.run(parseInPieces(indexed));
    return isJsonObject(value) ? value : undefined;
  } catch (error) {
    // What is no UTF-8 is a TypeError.
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined;
    throw error;
  }
};

/** How long another server asks to wait, in milliseconds: by the body, else by `Retry-After`. */
export const waitOf = (told: unknown, header: string | string[] | undefined): number | undefined => {
  if (typeof told === 'number' && told >= 0) return Math.min(told, MAX_WAIT_MS);
  const seconds = typeof header === 'string' && /^\d{1,9}$/.test(header) ? Number(header) : undefined;
  return seconds === undefined ? undefined : Math.min(seconds * 1_000, MAX_WAIT_MS);
};
