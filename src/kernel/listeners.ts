import type { Logger } from './logger.ts';

/** Calls off a subscription. */
export type Unsubscribe = () => void;

/** Who wants to hear of one kind of event. One that throws is logged and does not keep the others from hearing it. */
export class Listeners<T> {
  readonly #listeners = new Set<(event: T) => void>();
  readonly #logger: Logger;
  readonly #what: string;

  /** @param what names the event in the log */
  constructor(what: string, logger: Logger) {
    this.#what = what;
    this.#logger = logger;
  }

  add(listener: (event: T) => void): Unsubscribe {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  emit(event: T): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (err) {
        this.#logger.error('a listener failed', { event: this.#what, err });
      }
    }
  }
}
