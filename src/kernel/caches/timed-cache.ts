import { entry as oneEntry } from './at-most.ts';
import { CountedCache } from './counted-cache.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { OnceByKey } from './once.ts';

interface Entry<V> {
  readonly value: V;
  readonly until: number;
}

export interface TimedCacheOptions<V> {
  readonly clock: Clock;
  /** What it keeps, in snake_case: names it in metrics. */
  readonly name: string;
  /** What all values together may weigh. */
  readonly maxSize: number;
  /** What one weighs; 1 when left out, so that `maxSize` is a number of entries. */
  readonly sizeOf?: (value: V, key: string) => number;
  /** Milliseconds for which a value is valid. */
  readonly lifetimeMs: (value: V) => number;
}

/**
 * Caches answers of other servers for a while, failures included, since they change without notice. Of concurrent callers for the same key
 * one asks.
 */
export class TimedCache<V> {
  readonly #options: TimedCacheOptions<V>;
  readonly #entries: CountedCache<string, Entry<V>>;
  readonly #asking = new OnceByKey<string, V>();

  constructor(options: TimedCacheOptions<V>) {
    this.#options = options;
    const { maxSize, name, sizeOf } = options;
    const sizeCalculation =
      sizeOf === undefined ? oneEntry : ({ value }: Entry<V>, key: string): number => sizeOf(value, key);
    this.#entries = new CountedCache(name, { maxSize, sizeCalculation });
  }

  /** The valid value; undefined when it has to be asked for. */
  peek(key: string): V | undefined {
    const entry = this.#entries.get(key);
    return entry === undefined || entry.until <= this.#options.clock.now() ? undefined : entry.value;
  }

  /** The cached value, however old. */
  outdated(key: string): V | undefined {
    return this.#entries.get(key)?.value;
  }

  /** The valid value, or what `ask` returns now. */
  get(key: string, ask: () => Promise<V>): Promise<V> {
    const known = this.peek(key);
    if (known !== undefined) return Promise.resolve(known);
    return this.#asking.run(key, async () => {
      const value = await ask();
      this.set(key, value);
      return value;
    });
  }

  /** Remembers what was found out otherwise. */
  set(key: string, value: V): void {
    const { clock, lifetimeMs } = this.#options;
    this.#entries.set(key, { value, until: clock.now() + lifetimeMs(value) });
  }

  clear(): void {
    this.#entries.clear();
  }

  forget(key: string): void {
    this.#entries.delete(key);
  }
}
