/** What an entry weighs where entries are counted. */
export const entry = (): number => 1;

/**
 * Bounds an `LRUCache` to a number of entries. Its own option `max` takes the memory for all of them when the cache is made, 28 bytes each;
 * this takes it as they come.
 */
export const atMost = (entries: number): { readonly maxSize: number; readonly sizeCalculation: () => number } => ({
  maxSize: entries,
  sizeCalculation: entry,
});
