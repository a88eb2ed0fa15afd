import { LRUCache } from 'lru-cache';
import { entry } from './at-most.ts';
import type { Metrics, Sample } from '#src/kernel/metrics.ts';

/** The caches of this process by their names; unused ones are collected. */
const caches = new Map<string, Set<WeakRef<Counted>>>();

/** What metrics say of a cache. */
export interface Counted {
  readonly hits: number;
  readonly misses: number;
  readonly size: number;
  readonly weight: number;
  readonly limit: number;
  readonly unit: CacheUnit;
}

/** What the size of a cache counts: entries, bytes (roughly), or parts that entries have different numbers of. */
export type CacheUnit = 'entries' | 'bytes' | 'parts';

/** Makes metrics of a cache. @param name one of few, in snake_case: what it keeps */
export const measured = (name: string, cache: Counted): void => {
  const others = caches.get(name) ?? new Set();
  caches.set(name, others.add(new WeakRef(cache)));
};

/** Stands for a value while that is weighed anew. */
const NOTHING: object = Object.freeze({});
/** For what is not new: nothing is disposed of. */
const IN_PLACE = { noDisposeOnSet: true };

/** A cache that counts hits and misses. `measureCaches` makes metrics of all of them. */
export class CountedCache<K extends string | number, V extends object | string | number | boolean>
  extends LRUCache<K, V>
  implements Counted
{
  /** How often there was what was asked for, and how often there was not. */
  hits = 0;
  misses = 0;
  readonly unit: CacheUnit;

  /**
   * @param name one of few, in snake_case: what it keeps
   * @param unit what `sizeCalculation` counts, where that is not `atMost`'s
   */
  constructor(name: string, options: LRUCache.Options<K, V, unknown>, unit: CacheUnit = 'bytes') {
    super(options);
    const countsEntries = options.sizeCalculation === undefined || options.sizeCalculation === entry;
    this.unit = countsEntries ? 'entries' : unit;
    measured(name, this);
  }

  /** Stores a value; one that is here and has changed in place is weighed anew, which `LRUCache` does with other values only. */
  override set(key: K, value: V | undefined): this {
    if (value === undefined || value !== this.peek(key)) return super.set(key, value);
    const size = this.sizeCalculation?.(value, key) ?? 1;
    if (size > this.maxEntrySize) {
      this.delete(key);
      return this;
    }
    super.set(key, NOTHING as V, { ...IN_PLACE, size: 1 });
    return super.set(key, value, { ...IN_PLACE, size });
  }

  override get(key: K): V | undefined {
    const value = super.get(key);
    if (value === undefined) this.misses += 1;
    else this.hits += 1;
    return value;
  }

  get weight(): number {
    return this.calculatedSize;
  }

  get limit(): number {
    return this.maxSize;
  }
}

const alive = (name: string): readonly Counted[] => {
  const found: Counted[] = [];
  for (const ref of caches.get(name) ?? []) {
    const cache = ref.deref();
    if (cache === undefined) caches.get(name)?.delete(ref);
    else found.push(cache);
  }
  return found;
};

/** Registers the metrics of all caches of this process, those included that are made later. */
export const measureCaches = (metrics: Metrics): void => {
  const values = (
    kind: 'gauge' | 'counter',
    name: string,
    help: string,
    valueOf: (cache: Counted) => number,
    isOfUnit = false,
  ): void => {
    const read = function* (): Iterable<Sample> {
      for (const cache of caches.keys()) {
        const [first, ...others] = alive(cache);
        if (first === undefined) continue;
        const value = others.reduce((sum, one) => sum + valueOf(one), valueOf(first));
        yield { labels: isOfUnit ? { cache, unit: first.unit } : { cache }, value };
      }
    };
    metrics.valuesOf({ name, help, kind, labelNames: isOfUnit ? ['cache', 'unit'] : ['cache'], read });
  };
  values('counter', 'tsudoi_cache_hits_total', 'how often a cache had what was asked for', ({ hits }) => hits);
  values('counter', 'tsudoi_cache_misses_total', 'how often a cache did not have it', ({ misses }) => misses);
  values('gauge', 'tsudoi_cache_entries', 'entries of a cache', ({ size }) => size);
  values('gauge', 'tsudoi_cache_size', 'size of a cache, in the unit of its bound', ({ weight }) => weight, true);
  values('gauge', 'tsudoi_cache_size_limit', 'limit of tsudoi_cache_size', ({ limit }) => limit, true);
};
