import { MatrixError } from '#src/protocol/errors/matrix-error.ts';

/** Anything that `JSON.parse` can return. */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;

/** A JSON object. Members that are not known are read as `JsonValue | undefined`. */
export interface JsonObject {
  readonly [member: string]: JsonValue;
}

/** Whether a value that came from `JSON.parse` is an object (and not null or an array). */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Objects and arrays nested deeper than this are refused: recursive code (ours, and that of every other server) would
 * run out of stack on a 64 KiB event that is one tower of brackets.
 */
export const MAX_JSON_DEPTH = 1000;

// U+0000 to U+001F, the quotation mark and the backslash are escaped in JSON; surrogates need a closer look.
// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const SPECIAL_CHARACTER = /[\u0000-\u001f"\\\ud800-\udfff]/;

/** Whether `text` can stand between quotation marks in JSON as it is; used by the canonical encoder. */
export function isPlainText(text: string): boolean {
  return !SPECIAL_CHARACTER.test(text);
}

/**
 * What keeps a value that came from `JSON.parse` from being Canonical JSON, as an English clause, or undefined if nothing does.
 * Appendices, "Canonical JSON": "Numbers in the JSON must be integers in the range [-(2**53)+1, (2**53)-1]"; strings must be
 * expressible in UTF-8. Negative zero is not reported: the encoder writes it as 0.
 */
export function canonicalJsonFault(value: unknown, depth = 0): string | undefined {
  switch (typeof value) {
    case 'number':
      if (Number.isSafeInteger(value)) return undefined;
      return Number.isInteger(value)
        ? 'it contains an integer outside the range -(2^53)+1 to (2^53)-1'
        : 'it contains a number that is not an integer';
    case 'string':
      return value.isWellFormed() ? undefined : 'it contains a string with a lone surrogate, which has no UTF-8 form';
    case 'boolean':
      return undefined;
    case 'object': {
      if (value === null) return undefined;
      if (depth >= MAX_JSON_DEPTH) return `it is nested deeper than ${MAX_JSON_DEPTH} levels`;
      if (Array.isArray(value)) {
        for (const item of value) {
          const fault = canonicalJsonFault(item, depth + 1);
          if (fault !== undefined) return fault;
        }
        return undefined;
      }
      for (const [member, item] of Object.entries(value)) {
        const fault = canonicalJsonFault(member) ?? canonicalJsonFault(item, depth + 1);
        if (fault !== undefined) return fault;
      }
      return undefined;
    }
    default:
      return `it contains a value of type ${typeof value}, which JSON does not have`;
  }
}

/**
 * Whether all texts in a value have a UTF-8 form. Half of a surrogate pair can be written as an escape in JSON and has none: many parsers refuse
 * the whole of what it stands in, so that it must not come into anything that others are told.
 */
export function isWellFormedJson(value: JsonValue): boolean {
  if (typeof value === 'string') return value.isWellFormed();
  if (typeof value !== 'object' || value === null) return true;
  if (Array.isArray(value)) return value.every(isWellFormedJson);
  return Object.entries(value).every(([member, item]) => member.isWellFormed() && isWellFormedJson(item));
}

/**
 * Asserts that a request's body (after `JSON.parse`) is a JSON object, and with `canonical` that it could be part of an event.
 *
 * @throws MatrixError M_BAD_JSON
 */
export function assertJsonObject(value: unknown, what = 'The body', canonical = false): asserts value is JsonObject {
  if (!isJsonObject(value)) throw new MatrixError('M_BAD_JSON', `${what} must be a JSON object.`);
  const fault = canonical ? canonicalJsonFault(value) : undefined;
  if (fault !== undefined)
    throw new MatrixError('M_BAD_JSON', `${what} cannot be encoded as Canonical JSON: ${fault}.`);
}
