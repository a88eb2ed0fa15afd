/**
 * Collects what one turn of the event loop brings, each item once, and hands it over right after that turn. While many items are handed over,
 * in slices of a turn each, the next ones are collected.
 */
export class TurnCollector<T> {
  readonly #hand: (item: T) => void;
  readonly #slice: number;
  #items = new Set<T>();
  #isHanding = false;

  /**
   * @param hand is given each item; it does not throw
   * @param slice items in one turn at most
   */
  constructor(hand: (item: T) => void, slice = Infinity) {
    this.#hand = hand;
    this.#slice = slice;
  }

  add(item: T): void {
    if (this.#items.size === 0 && !this.#isHanding) queueMicrotask(() => this.#handOver());
    this.#items.add(item);
  }

  #handOver(): void {
    if (this.#items.size === 0) return;
    this.#isHanding = true;
    const items = [...this.#items];
    this.#items = new Set();
    let at = 0;
    const slice = (): void => {
      for (const end = Math.min(at + this.#slice, items.length); at < end; at++) this.#hand(items[at] as T);
      if (at < items.length) {
        setImmediate(slice);
        return;
      }
      this.#isHanding = false;
      this.#handOver();
    };
    slice();
  }
}
