import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isPlainText, MAX_JSON_DEPTH } from './json-value.ts';
import type { JsonValue } from './json-value.ts';

/**
 * `strict` refuses what the specification refuses (room version 6 and later, everything that is signed and is not an event);
 * `lenient` writes floats, large integers and lone surrogates as JavaScript would, for events of room versions 1 to 5.
 */
export type CanonicalJsonMode = 'strict' | 'lenient';

/**
 * The Canonical JSON text of a value; its UTF-8 bytes are what is hashed and signed. Appendices, "Canonical JSON".
 *
 * @throws MatrixError M_BAD_JSON for values that have no canonical form in this mode
 * @throws TypeError for what JSON does not have at all (undefined, functions): a mistake of the caller
 */
export function canonicalJson(value: JsonValue, mode: CanonicalJsonMode = 'strict'): string {
  return encode(value, mode === 'strict', 0);
}

function encode(value: unknown, strict: boolean, depth: number): string {
  switch (typeof value) {
    case 'string':
      return encodeString(value, strict);
    case 'number':
      // "represented without exponents or decimal places, and negative zero -0 MUST NOT appear": String(-0) is "0".
      if (Number.isSafeInteger(value)) return String(value);
      return encodeUnsafeNumber(value, strict);
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object':
      if (value === null) return 'null';
      if (depth >= MAX_JSON_DEPTH)
        throw new MatrixError('M_BAD_JSON', `The JSON is nested deeper than ${MAX_JSON_DEPTH} levels.`);
      return Array.isArray(value)
        ? encodeArray(value, strict, depth + 1)
        : encodeObject(value as Readonly<Record<string, unknown>>, strict, depth + 1);
    case 'bigint':
      if (!strict) return String(value);
      throw new MatrixError('M_BAD_JSON', 'Integers in Canonical JSON must lie between -(2^53)+1 and (2^53)-1.');
    default:
      throw new TypeError(`Canonical JSON has no form for a value of type ${typeof value}`);
  }
}

function encodeUnsafeNumber(value: number, strict: boolean): string {
  if (strict) {
    throw new MatrixError(
      'M_BAD_JSON',
      `Numbers in Canonical JSON must be integers between -(2^53)+1 and (2^53)-1, not ${value}.`,
    );
  }
  // What JSON.parse makes of 1e400.
  if (!Number.isFinite(value)) throw new MatrixError('M_BAD_JSON', 'The JSON holds a number that is too large.');
  // Integers that lost their precision in JSON.parse are still written without an exponent.
  return Number.isInteger(value) ? String(BigInt(value)) : String(value);
}

function encodeString(text: string, strict: boolean): string {
  if (isPlainText(text)) return `"${text}"`;
  if (strict && !text.isWellFormed()) {
    throw new MatrixError('M_BAD_JSON', 'Strings in Canonical JSON must not contain lone surrogates.');
  }
  // JSON.stringify uses exactly the escapes of the grammar: \b \t \n \f \r \" \\ and lower-case \u00xx.
  return JSON.stringify(text);
}

function encodeArray(items: readonly unknown[], strict: boolean, depth: number): string {
  if (items.length === 0) return '[]';
  let json = `[${encode(items[0], strict, depth)}`;
  for (let index = 1; index < items.length; index++) json += `,${encode(items[index], strict, depth)}`;
  return `${json}]`;
}

function encodeObject(object: Readonly<Record<string, unknown>>, strict: boolean, depth: number): string {
  const members = sortByCodePoint(Object.keys(object));
  let json = '';
  for (const member of members) {
    json += `${json === '' ? '{' : ','}${encodeString(member, strict)}:${encode(object[member], strict, depth)}`;
  }
  return json === '' ? '{}' : `${json}}`;
}

const SURROGATE = /[\ud800-\udfff]/;
/** Up to this many members an insertion sort beats Array.prototype.sort, and most objects of events are nearly sorted. */
const SHORT = 24;

/** Sorts in place, "lexicographically sorted by Unicode codepoint", and returns its argument. */
function sortByCodePoint(members: string[]): string[] {
  // UTF-16 order, which is what `<` means for strings, differs from code point order only where surrogates are involved.
  for (const member of members) if (SURROGATE.test(member)) return members.sort(compareCodePoints);
  if (members.length > SHORT) return members.sort();
  for (let next = 1; next < members.length; next++) {
    const member = members[next] as string;
    let place = next;
    while (place > 0 && (members[place - 1] as string) > member) {
      members[place] = members[place - 1] as string;
      place--;
    }
    members[place] = member;
  }
  return members;
}

function compareCodePoints(left: string, right: string): number {
  const length = Math.min(left.length, right.length);
  for (let index = 0; index < length; index++) {
    const a = left.charCodeAt(index);
    const b = right.charCodeAt(index);
    if (a === b) continue;
    // A surrogate stands for a code point above U+FFFF, and so comes after every unit that is not one.
    const aSurrogate = (a & 0xf800) === 0xd800;
    const bSurrogate = (b & 0xf800) === 0xd800;
    return aSurrogate === bSurrogate ? a - b : aSurrogate ? 1 : -1;
  }
  return left.length - right.length;
}
