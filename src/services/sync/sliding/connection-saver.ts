import { Background } from '#src/kernel/concurrency/background.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import type { Connection } from './connection.ts';
import type { ConnectionStore, NamedConnection } from './connection-store.ts';

/** Milliseconds for which there must have been no news for a client before its connection is saved, and between two rounds of saving. */
const QUIET_MS = 30_000;
/** Characters of JSON that are saved in one round; what does not fit waits for the next one. */
const CHARACTERS_OF_ROUND = 2_000_000;

export interface ConnectionSaverOptions {
  readonly store: ConnectionStore;
  /** The connection of this name, if it is still in memory. */
  readonly find: (key: string) => Connection | undefined;
  /** Called with connections that were saved and have been idle for a while. */
  readonly rest: (key: string) => void;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
}

/**
 * Saves connections in the background, so that after a kill only recently active ones start anew. A connection with constant
 * changes is not saved: each response has a new position, and the row would be stale at once.
 */
export class ConnectionSaver {
  readonly #options: ConnectionSaverOptions;
  /** Connections with answers that are not saved -> when the last one was given. The one that was answered longest ago comes first. */
  readonly #unsaved = new Map<string, number>();
  readonly #background: Background;
  #timer: Timer | undefined;

  constructor(options: ConnectionSaverOptions) {
    this.#options = options;
    this.#background = new Background(
      'saving connections',
      () => this.#save(),
      (err) => {
        options.logger.warn('connections of sliding sync could not be saved', { err });
        this.#plan();
      },
    );
  }

  /** Notes that a connection got an answer with news. */
  note(key: string): void {
    this.#unsaved.delete(key);
    this.#unsaved.set(key, this.#options.clock.now());
    this.#plan();
  }

  /** Resolves when none is being saved. */
  idle(): Promise<void> {
    return this.#background.idle();
  }

  /** Starts no more saves. The caller saves the rest. */
  async close(): Promise<void> {
    this.#timer?.cancel();
    await this.#background.close();
  }

  #plan(): void {
    this.#timer ??= this.#options.timers.after(QUIET_MS, () => {
      this.#timer = undefined;
      this.#background.wake();
    });
  }

  async #save(): Promise<void> {
    const quietSince = this.#options.clock.now() - QUIET_MS;
    const due = new Map<string, number>();
    const connections: NamedConnection[] = [];
    for (const [key, answered] of this.#unsaved) {
      if (answered > quietSince) break;
      const connection = this.#options.find(key);
      if (connection === undefined) this.#unsaved.delete(key);
      else connections.push({ key, connection });
      due.set(key, answered);
    }
    if (connections.length > 0) {
      const seen = await this.#options.store.save(connections, CHARACTERS_OF_ROUND);
      // Those that got another answer meanwhile are saved once more.
      for (const { key } of connections.slice(0, seen)) {
        if (this.#unsaved.get(key) !== due.get(key)) continue;
        this.#unsaved.delete(key);
        this.#options.rest(key);
      }
    }
    if (this.#unsaved.size > 0) this.#plan();
  }
}
