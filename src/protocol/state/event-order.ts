/**
 * Compares event ids by code points, which is also the order of their UTF-8 bytes. (JavaScript compares UTF-16 units, and event
 * ids of room versions 1 and 2 may hold anything.)
 */
export function compareEventIds(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return codePointOrder(x) - codePointOrder(y);
  }
  return a.length - b.length;
}

/** Puts surrogates, which stand for the code points beyond U+FFFF, above all other units. */
function codePointOrder(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}
