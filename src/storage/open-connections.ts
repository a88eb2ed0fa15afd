import type pg from 'pg';
import type { Logger } from '#src/kernel/logger.ts';
import { Signal } from '#src/kernel/signal.ts';

interface Watched {
  readonly pool: pg.Pool;
  readonly clients: Set<object>;
  empty: (() => void) | undefined;
}

/**
 * Connections of pools until PostgreSQL has closed them too. `pool.end()` is done when it has said goodbye: a database that is stopped at
 * that moment still has them, and both sides log them as lost.
 */
export class OpenConnections {
  /** Fires when one was lost. */
  readonly lost = new Signal<void>();
  /** Without those that are closed. */
  #pools: readonly Watched[] = [];
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  watch(pool: pg.Pool): void {
    const watched: Watched = { pool, clients: new Set(), empty: undefined };
    this.#pools = [...this.#pools.filter(isOpen), watched];
    pool.on('error', (error) => this.#logger.warn('an idle database connection was lost', { reason: error.message }));
    pool.on('connect', (client) => {
      watched.clients.add(client);
      // The pool hears what happens to idle clients alone. The user of one is told by its query.
      client.on('error', (error) => {
        this.#logger.debug('a database connection was lost', { reason: error.message });
        this.lost.emit();
      });
    });
    pool.on('remove', (client) => {
      watched.clients.delete(client);
      if (watched.clients.size === 0) watched.empty?.();
      this.#pools = this.#pools.filter(isOpen);
    });
  }

  /** How many pools are not closed. */
  get pools(): number {
    return this.#pools.filter(isOpen).length;
  }

  /** Waits until those of the pools that were ended are closed. */
  async closed(): Promise<void> {
    const ended = this.#pools.filter(({ pool, clients }) => pool.ending && clients.size > 0);
    await Promise.all(ended.map((watched) => new Promise<void>((resolve) => (watched.empty = resolve))));
  }
}

const isOpen = ({ clients, pool }: Watched): boolean => !pool.ending || clients.size > 0;
