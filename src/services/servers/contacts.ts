import type { Logger } from '#src/kernel/logger.ts';
import { type Listener, Signal, type Subscribable } from '#src/kernel/signal.ts';

/** Publishes the name of another server that has sent a signed request: it can be reached. */
export class Contacts implements Subscribable<string> {
  readonly #logger: Logger;
  readonly #heard = new Signal<string>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** @returns stops listening */
  subscribe(listener: Listener<string>): () => void {
    return this.#heard.subscribe(listener);
  }

  /** Notes that a server was heard of. Never throws: the request of that server is answered all the same. */
  heardOf(serverName: string): void {
    try {
      this.#heard.emit(serverName);
    } catch (err) {
      this.#logger.error('a listener for contacts of other servers threw', { err, server: serverName });
    }
  }
}
