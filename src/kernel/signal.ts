/** It returns nothing, not even a promise, which a plain `void` would allow: nobody waits for it, so it must be done when it returns. */
export type Listener<T> = (value: T) => void | undefined;

/** The listening side of a signal. */
export interface Subscribable<T> {
  /** @returns stops listening */
  subscribe(listener: Listener<T>): () => void;
}

/**
 * An event with listeners. Listeners run at once, in the order in which they came; all of them run, and then the first
 * error is thrown on to the emitter.
 */
export class Signal<T> implements Subscribable<T> {
  readonly #listeners = new Set<Listener<T>>();

  subscribe(listener: Listener<T>): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  emit(value: T): void {
    let failure: { readonly error: unknown } | undefined;
    for (const listener of this.#listeners) {
      try {
        listener(value);
      } catch (error) {
        failure ??= { error };
      }
    }
    if (failure !== undefined) throw failure.error;
  }
}
