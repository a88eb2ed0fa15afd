import { type CacheUnit, type Counted, measured } from './counted-cache.ts';

/**
 * Recently added or used entries, in two generations: when the younger one has grown to half of the bound it becomes the older one, and the
 * former older one is dropped. For what every message adds and is rarely asked for: an entry costs what it costs in a `Map`, where
 * an `LRUCache` keeps the order of all uses beside it.
 */
export class RecentMap<K extends string | number, V extends object | string | number> implements Counted {
  readonly #half: number;
  #young = new Map<K, V>();
  #old = new Map<K, V>();
  hits = 0;
  misses = 0;
  readonly unit: CacheUnit = 'entries';

  /**
   * @param name one of few, in snake_case: what it keeps
   * @param most entries that are kept; at least the last half as many are
   */
  constructor(name: string, most: number) {
    this.#half = Math.max(Math.floor(most / 2), 1);
    measured(name, this);
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }
  get weight(): number {
    return this.size;
  }
  get limit(): number {
    return 2 * this.#half;
  }

  get(key: K): V | undefined {
    let value = this.#young.get(key);
    if (value === undefined && this.#old.size > 0) {
      value = this.#old.get(key);
      if (value !== undefined) this.set(key, value);
    }
    if (value === undefined) this.misses += 1;
    else this.hits += 1;
    return value;
  }

  set(key: K, value: V): void {
    this.#old.delete(key);
    this.#young.set(key, value);
    if (this.#young.size < this.#half) return;
    this.#old = this.#young;
    this.#young = new Map();
  }

  delete(key: K): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }
}
