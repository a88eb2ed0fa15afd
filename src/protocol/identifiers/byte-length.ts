/** The limit, in bytes of UTF-8, of user ids, room ids, aliases and event ids. Appendices, "Identifier Grammar". */
const MAX_IDENTIFIER_BYTES = 255;

/** Whether a string's UTF-8 form has at most `limit` bytes. */
export function fitsBytes(text: string, limit: number = MAX_IDENTIFIER_BYTES): boolean {
  // A UTF-16 unit takes at most three bytes and at least one: most strings are decided without counting.
  if (text.length * 3 <= limit) return true;
  return text.length <= limit && Buffer.byteLength(text) <= limit;
}

/** Whether a string has at most `limit` Unicode code points. */
export function fitsCodePoints(text: string, limit: number = MAX_IDENTIFIER_BYTES): boolean {
  if (text.length <= limit) return true;
  if (text.length > limit * 2) return false;
  let count = 0;
  for (const _ of text) count++;
  return count <= limit;
}
