/**
 * Finds the first place in a sorted list that is not before what is looked for, by halving.
 *
 * @param length of the list
 * @param isBefore whether the entry at a place comes before it: true for the first places, false for all others
 * @returns `length` where all are before it
 */
export const firstIndex = (length: number, isBefore: (index: number) => boolean): number => {
  let start = 0;
  for (let end = length; start < end;) {
    const middle = (start + end) >>> 1;
    if (isBefore(middle)) start = middle + 1;
    else end = middle;
  }
  return start;
};
