import { measureJson } from '#src/protocol/json/json-measure.ts';
import { isJsonObject, type JsonObject, MAX_JSON_DEPTH } from '#src/protocol/json/json-value.ts';

/** Values that the JSON of an answer may hold: one for so many bytes, and so many in any case. */
const BYTES_PER_VALUE = 16;
const LEAST_VALUES = 100_000;
/** The longest `retry_after_ms` that counts. */
const MAX_WAIT_MS = 86_400_000;

/** The JSON object of an answer; undefined for anything else, and for more values or depth than an answer may have. */
export const parsedObject = (bytes: Buffer, most: number): JsonObject | undefined => {
  const maxValues = Math.max(LEAST_VALUES, most / BYTES_PER_VALUE);
  const { depth, values } = measureJson(bytes, maxValues);
  if (depth > MAX_JSON_DEPTH || values > maxValues) return undefined;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
};

/** How long another server asks to wait, in milliseconds: by the body, else by `Retry-After`. */
export const waitOf = (told: unknown, header: string | string[] | undefined): number | undefined => {
  if (typeof told === 'number' && told >= 0) return Math.min(told, MAX_WAIT_MS);
  const seconds = typeof header === 'string' && /^\d{1,9}$/.test(header) ? Number(header) : undefined;
  return seconds === undefined ? undefined : Math.min(seconds * 1_000, MAX_WAIT_MS);
};
