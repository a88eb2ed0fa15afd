import { LRUCache } from 'lru-cache';

interface Reading<V> {
  /** What was set or forgotten meanwhile: what is being read may be older. */
  isStale: boolean;
  readonly value: Promise<V>;
}

export interface LiveCacheOptions<V extends object> {
  /** What all values together may weigh. */
  readonly maxSize: number;
  /** What one weighs; 1 when left out, so that `maxSize` is a number of entries. */
  readonly sizeOf?: (value: V, key: string) => number;
}

/**
 * A cache of what lies in a database, which hears of commits while it reads. What is set or forgotten is heard in the turn of its commit;
 * what was read before that is neither kept nor handed out, however late it arrives. Of those who ask for the same at once, one reads.
 */
export class LiveCache<V extends object> {
  readonly #values: LRUCache<string, V>;
  readonly #readings = new Map<string, Reading<V>>();

  constructor({ maxSize, sizeOf = () => 1 }: LiveCacheOptions<V>) {
    this.#values = new LRUCache({ maxSize, sizeCalculation: sizeOf });
  }

  /** What is in memory. */
  peek(key: string): V | undefined {
    return this.#values.get(key);
  }

  /** What is in memory, or is read. @param read reads it from the database; is called again when what it read is outdated */
  get(key: string, read: () => Promise<V>): Promise<V> {
    const known = this.#values.get(key);
    if (known !== undefined) return Promise.resolve(known);
    return (this.#readings.get(key) ?? this.#begin(key, read)).value;
  }

  /** Takes in what is committed by now. */
  set(key: string, value: V): void {
    this.#outdate(key);
    this.#values.set(key, value);
  }

  /** Forgets what is not so any more. */
  forget(key: string): void {
    this.#outdate(key);
    this.#values.delete(key);
  }

  #outdate(key: string): void {
    const reading = this.#readings.get(key);
    if (reading !== undefined) reading.isStale = true;
  }

  #begin(key: string, read: () => Promise<V>): Reading<V> {
    const reading: Reading<V> = { isStale: false, value: Promise.resolve().then(() => this.#read(key, reading, read)) };
    this.#readings.set(key, reading);
    return reading;
  }

  async #read(key: string, reading: Reading<V>, read: () => Promise<V>): Promise<V> {
    try {
      for (;;) {
        reading.isStale = false;
        const value = await read();
        // Set meanwhile: it is newer than what was read.
        const newer = reading.isStale ? this.#values.get(key) : undefined;
        if (newer !== undefined) return newer;
        if (reading.isStale) continue;
        this.#values.set(key, value);
        return value;
      }
    } finally {
      this.#readings.delete(key);
    }
  }
}
