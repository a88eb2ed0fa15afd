/** First and last byte of a part of something. */
export interface RequestedRange {
  readonly first: number;
  readonly last: number;
}

/**
 * The part that a `Range` header asks for, of something of a size. RFC 9110, 14.2: what is no range of bytes, or asks for several, is
 * ignored.
 *
 * @returns undefined for all of it; 'unsatisfiable' for what lies behind its end
 */
export const requestedRange = (
  header: string | undefined,
  size: number,
): RequestedRange | undefined | 'unsatisfiable' => {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? '');
  if (match === null) return undefined;
  const [, from = '', to = ''] = match;
  if (from === '' && to === '') return undefined;
  if (from === '') {
    const suffix = Number(to);
    return suffix === 0 || size === 0 ? 'unsatisfiable' : { first: Math.max(size - suffix, 0), last: size - 1 };
  }
  const first = Number(from);
  const last = to === '' ? size - 1 : Math.min(Number(to), size - 1);
  if (first >= size) return 'unsatisfiable';
  return last < first ? undefined : { first, last };
};
