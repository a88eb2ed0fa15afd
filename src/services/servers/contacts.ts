import type { Logger } from '#src/kernel/logger.ts';

/** Called with the name of a server; neither waits nor fails. */
export type ContactListener = (serverName: string) => void;

/** Publishes that another server was heard of: it has sent a signed request, so it is up. */
export class Contacts {
  readonly #logger: Logger;
  readonly #listeners: ContactListener[] = [];

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  onHeardOf(listener: ContactListener): void {
    this.#listeners.push(listener);
  }

  heardOf(serverName: string): void {
    for (const listener of this.#listeners) {
      try {
        listener(serverName);
      } catch (err) {
        this.#logger.error('a listener for contacts of other servers threw', { err, server: serverName });
      }
    }
  }
}
