import { entry } from './at-most.ts';
import { CountedCache } from './counted-cache.ts';

interface Reading<V> {
  /** Something was set or forgotten meanwhile: what is being read may be older. */
  isStale: boolean;
  /** What was changed meanwhile: what is being read may hold it or not. */
  changes: ((value: V) => void)[];
  result: V | undefined;
  done: Promise<void>;
}

export interface LiveCacheOptions<V extends object> {
  /** What it keeps, in snake_case: names it in metrics. */
  readonly name: string;
  /** What all values together may weigh. */
  readonly maxSize: number;
  /** What one weighs; 1 when left out, so that `maxSize` is a number of entries. */
  readonly sizeOf?: (value: V, key: string) => number;
}

/**
 * A cache of stored values that stays correct when commits happen during a read. Callers report each change in the turn of its
 * commit; what was read before that is neither kept nor returned without it, however late it arrives. Of concurrent callers for the same key
 * one reads.
 */
export class LiveCache<V extends object> {
  readonly #values: CountedCache<string, V>;
  readonly #readings = new Map<string, Reading<V>>();

  constructor({ maxSize, name, sizeOf = entry }: LiveCacheOptions<V>) {
    this.#values = new CountedCache(name, { maxSize, sizeCalculation: sizeOf });
  }

  /** What is in memory. */
  peek(key: string): V | undefined {
    return this.#values.get(key);
  }

  /** What is in memory, or is read. @param read reads it from the database; is called again when what it read is outdated */
  async get(key: string, read: () => Promise<V>): Promise<V> {
    const known = this.#values.get(key);
    if (known !== undefined) return known;
    const found = await this.getAll([key], async () => new Map([[key, await read()]]));
    return found.get(key) as V;
  }

  /** The same for several; `read` gets those of which nothing is in memory, and returns something for each of them. */
  async getAll(
    keys: readonly string[],
    read: (missing: readonly string[]) => Promise<ReadonlyMap<string, V>>,
  ): Promise<Map<string, V>> {
    const found = new Map<string, V>();
    const waitFor = new Map<string, Reading<V>>();
    const missing: string[] = [];
    for (const key of new Set(keys)) {
      const known = this.#values.get(key);
      const reading = this.#readings.get(key);
      if (known !== undefined) found.set(key, known);
      else if (reading === undefined) missing.push(key);
      else waitFor.set(key, reading);
    }
    for (const [key, reading] of this.#begin(missing, read)) waitFor.set(key, reading);
    await Promise.all([...waitFor.values()].map(({ done }) => done));
    for (const [key, { result }] of waitFor) if (result !== undefined) found.set(key, result);
    return found;
  }

  /** Stores what is committed by now. */
  set(key: string, value: V): void {
    this.#outdate(key);
    this.#values.set(key, value);
  }

  /** Changes in place what is in memory, and what is being read once it is there: it may hold the change already, which must not matter. */
  update(key: string, change: (value: V) => void): void {
    this.#readings.get(key)?.changes.push(change);
    const known = this.#values.peek(key);
    if (known === undefined) return;
    change(known);
    // It weighs something else now.
    this.#values.set(key, known);
  }

  /** The same for everything that is in memory or being read. */
  updateAll(change: (value: V) => void): void {
    for (const key of new Set([...this.#readings.keys(), ...this.#values.keys()])) this.update(key, change);
  }

  /** Forgets an outdated value. */
  forget(key: string): void {
    this.#outdate(key);
    this.#values.delete(key);
  }

  /** Forgets all matching keys. */
  forgetAll(isMeant: (key: string) => boolean): void {
    for (const key of [...this.#readings.keys(), ...this.#values.keys()]) if (isMeant(key)) this.forget(key);
  }

  #outdate(key: string): void {
    const reading = this.#readings.get(key);
    if (reading !== undefined) reading.isStale = true;
  }

  #begin(
    keys: readonly string[],
    read: (missing: readonly string[]) => Promise<ReadonlyMap<string, V>>,
  ): ReadonlyMap<string, Reading<V>> {
    const readings = new Map<string, Reading<V>>();
    if (keys.length === 0) return readings;
    const done = Promise.resolve().then(() => this.#read(readings, read));
    for (const key of keys) {
      const reading: Reading<V> = { isStale: false, changes: [], result: undefined, done };
      readings.set(key, reading);
      this.#readings.set(key, reading);
    }
    return readings;
  }

  async #read(
    readings: ReadonlyMap<string, Reading<V>>,
    read: (missing: readonly string[]) => Promise<ReadonlyMap<string, V>>,
  ): Promise<void> {
    try {
      for (let left = [...readings]; left.length > 0; left = left.filter(([, { result }]) => result === undefined)) {
        for (const [, reading] of left) Object.assign(reading, { isStale: false, changes: [] });
        const values = await read(left.map(([key]) => key));
        for (const [key, reading] of left) this.#arrived(key, reading, values.get(key));
      }
    } finally {
      for (const key of readings.keys()) this.#readings.delete(key);
    }
  }

  #arrived(key: string, reading: Reading<V>, value: V | undefined): void {
    if (value === undefined) throw new Error(`nothing was read of ${key}`);
    if (reading.isStale) {
      // What was set meanwhile is newer; what was forgotten is read again.
      reading.result = this.#values.get(key);
      return;
    }
    for (const change of reading.changes) change(value);
    this.#values.set(key, value);
    reading.result = value;
  }
}
