import type { LogFields, Logger } from './logger.ts';

interface Kinds {
  readonly kind: string;
}

type OfKind<Event extends Kinds, K extends Event['kind']> = Extract<Event, { readonly kind: K }>;

/** Runs in the turn of the event. It returns nothing, not even a promise: it is not awaited, so it must be done when it returns. */
export type StreamListener<Event extends Kinds, K extends Event['kind'] = Event['kind']> = (
  happened: OfKind<Event, K>,
) => undefined;

/**
 * A stream of what happens, as one union of kinds, for caches that listen. Listeners run at once, in the order in which they came, and must
 * neither wait nor fail: one that throws is logged, and the others hear of it all the same.
 */
export class EventStream<Event extends Kinds> {
  readonly #listeners = new Map<string, Set<StreamListener<Event>>>();
  readonly #name: string;
  readonly #logger: Logger;
  readonly #fieldsOf: (happened: Event) => LogFields;

  /**
   * @param name names the stream in the log
   * @param fieldsOf what the log tells of what happened, beside its kind
   */
  constructor(name: string, logger: Logger, fieldsOf: (happened: Event) => LogFields) {
    this.#name = name;
    this.#logger = logger;
    this.#fieldsOf = fieldsOf;
  }

  /** @returns stops listening */
  on<K extends Event['kind']>(kind: K, listener: StreamListener<Event, K>): () => void {
    const listeners = this.#listeners.get(kind) ?? new Set();
    this.#listeners.set(kind, listeners);
    // Listeners to a kind are told of that kind only.
    const known = listener as unknown as StreamListener<Event>;
    listeners.add(known);
    return () => {
      listeners.delete(known);
    };
  }

  publish(happened: Event): void {
    for (const listener of this.#listeners.get(happened.kind) ?? []) {
      try {
        listener(happened as OfKind<Event, Event['kind']>);
      } catch (err) {
        const fields = this.#fieldsOf(happened);
        this.#logger.error('a listener of an event stream threw', {
          stream: this.#name,
          kind: happened.kind,
          ...fields,
          err,
        });
      }
    }
  }
}
