/** What others may do with a signal: listen. */
export interface Subscribable<T> {
  /** @returns stops listening */
  subscribe(listener: (value: T) => void): () => void;
}

/** Something that others can listen to. Listeners run at once, in the order in which they came. */
export class Signal<T> implements Subscribable<T> {
  readonly #listeners = new Set<(value: T) => void>();

  subscribe(listener: (value: T) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  emit(value: T): void {
    for (const listener of this.#listeners) listener(value);
  }
}
