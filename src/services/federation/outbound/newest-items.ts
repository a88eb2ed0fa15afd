/** Items on their way to a destination. */
export interface TakenItems<Item> {
  readonly items: readonly Item[];
  /** They arrived, but for some: those that nothing newer has taken the place of are forgotten. */
  delivered(but?: ReadonlySet<Item>): void;
}

/** Items that wait for each of many destinations: the newest for each key, and so many keys at most; the oldest are dropped. In memory only. */
export class NewestItems<Item> {
  readonly #items = new Map<string, Map<string, Item>>();
  readonly #most: number;

  /** @param most items that wait for one destination */
  constructor(most: number) {
    this.#most = most;
  }

  /** @param key what a later item takes the place of */
  put(destination: string, key: string, item: Item): void {
    let items = this.#items.get(destination);
    if (items === undefined) this.#items.set(destination, (items = new Map<string, Item>()));
    items.delete(key);
    items.set(key, item);
    if (items.size > this.#most)
      for (const oldest of items.keys()) {
        items.delete(oldest);
        break;
      }
  }

  has(destination: string): boolean {
    return this.#items.has(destination);
  }

  /** The oldest items, `limit` at most; undefined when there are none. */
  take(destination: string, limit: number): TakenItems<Item> | undefined {
    const items = this.#items.get(destination);
    if (items === undefined) return undefined;
    const taken = [...items].slice(0, limit);
    return {
      items: taken.map(([, item]) => item),
      delivered: (but) => {
        for (const [key, item] of taken) if (but?.has(item) !== true && items.get(key) === item) items.delete(key);
        if (items.size === 0 && this.#items.get(destination) === items) this.#items.delete(destination);
      },
    };
  }

  /** Keeps the newest `most` items of a destination only. */
  shrink(destination: string, most: number): void {
    const items = this.#items.get(destination);
    if (items === undefined) return;
    let surplus = items.size - most;
    for (const key of items.keys()) {
      if (surplus-- <= 0) break;
      items.delete(key);
    }
    if (items.size === 0) this.#items.delete(destination);
  }

  forget(destination: string): void {
    this.#items.delete(destination);
  }
}
