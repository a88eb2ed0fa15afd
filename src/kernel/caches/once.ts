/** Runs what has the same key once at a time: callers that come meanwhile get the result of the one that runs. */
export class OnceByKey<K, T> {
  readonly #running = new Map<K, Promise<T>>();

  run(key: K, work: () => Promise<T>): Promise<T> {
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    const result = work().finally(() => this.#running.delete(key));
    this.#running.set(key, result);
    return result;
  }

  /** The same for several keys: those that do not run yet are run together. Resolves when none of them runs. */
  async runAll(keys: Iterable<K>, work: (keys: readonly K[]) => Promise<T>): Promise<void> {
    const results = new Set<Promise<T>>();
    const missing: K[] = [];
    for (const key of new Set(keys)) {
      const running = this.#running.get(key);
      if (running === undefined) missing.push(key);
      else results.add(running);
    }
    if (missing.length > 0) {
      const result = work(missing).finally(() => {
        for (const key of missing) this.#running.delete(key);
      });
      for (const key of missing) this.#running.set(key, result);
      results.add(result);
    }
    await Promise.all(results);
  }

  /** Resolves when nothing runs. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running.values());
  }

  /** What runs with this key; undefined when nothing does. */
  peek(key: K): Promise<T> | undefined {
    return this.#running.get(key);
  }

  has(key: K): boolean {
    return this.#running.has(key);
  }
}
