/** Runs what has the same key one after the other, in the order in which it came; different keys do not wait for each other. */
export class SerialByKey<K> {
  readonly #tails = new Map<K, Promise<unknown>>();

  run<T>(key: K, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key);
    const result = before === undefined ? work() : before.then(work, work);
    this.#tails.set(key, result);
    const forget = (): void => {
      if (this.#tails.get(key) === result) this.#tails.delete(key);
    };
    result.then(forget, forget);
    return result;
  }

  /** How many keys have work that is not done yet. */
  get busy(): number {
    return this.#tails.size;
  }
}
