import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import type { DestinationBackoff, Outage } from '#src/remote/federation/destination-backoff.ts';
import type { Database } from '#src/storage/database.ts';
import {
  deleteServerOutages,
  readServerOutages,
  saveServerOutages,
  sweepServerOutages,
} from '#src/storage/servers/server-outage-rows.ts';
import { DAY_MS } from '#src/kernel/dates.ts';

export interface StoredOutagesOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
}

/** What changes is written together, after so many milliseconds. */
const WRITE_AFTER_MS = 10_000;
/** Shorter outages are not worth a row: after a restart the server is simply tried. */
const WORTH_MS = 60_000;
const MAX_REMEMBERED = 20_000;
/** Outages of servers that were not tried for so long are forgotten. */
const FORGET_MS = 7 * DAY_MS;

/** Stores over restarts which servers could not be reached, so that a restart does not try a thousand dead ones again. */
export class StoredOutages {
  readonly #options: StoredOutagesOptions;
  readonly #changes = new Map<string, Outage | undefined>();
  /** Servers of which there is a row. */
  readonly #written = new Set<string>();
  #timer: Timer | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: StoredOutagesOptions) {
    this.#options = options;
  }

  /** Loads what an earlier process knew. */
  async start(backoff: DestinationBackoff): Promise<void> {
    const { clock, database } = this.#options;
    await sweepServerOutages(database, clock.now() - FORGET_MS);
    for (const { retryAt, serverName, since } of await readServerOutages(database, MAX_REMEMBERED)) {
      this.#written.add(serverName);
      backoff.remember(serverName, { since, retryAt });
    }
  }

  /** Notes a change; undefined: the server is reached again, or not worth remembering. */
  changed(serverName: string, outage: Outage | undefined): void {
    if (outage === undefined && !this.#written.has(serverName) && !this.#changes.has(serverName)) return;
    this.#changes.set(serverName, outage);
    this.#timer ??= this.#options.timers.after(WRITE_AFTER_MS, () => {
      this.#timer = undefined;
      this.#writing = this.#writing.then(() => this.#write());
    });
  }

  /** Resolves when what was begun is written. */
  idle(): Promise<void> {
    return this.#writing;
  }

  /** Writes what is left. */
  async close(): Promise<void> {
    this.#timer?.cancel();
    await this.#writing;
    await this.#write();
  }

  async #write(): Promise<void> {
    const { clock, database, logger } = this.#options;
    const changes = [...this.#changes];
    this.#changes.clear();
    const ended = changes
      .filter(([name, outage]) => outage === undefined && this.#written.has(name))
      .map(([name]) => name);
    const lasting = changes.flatMap(([serverName, outage]) =>
      outage !== undefined && clock.now() - outage.since >= WORTH_MS ? [{ serverName, ...outage }] : [],
    );
    try {
      if (ended.length > 0) await deleteServerOutages(database, ended);
      for (const name of ended) this.#written.delete(name);
      if (lasting.length > 0)
        await saveServerOutages(
          database,
          lasting.map(({ retryAt, serverName, since }) => ({ serverName, since, retryAt })),
        );
      for (const { serverName } of lasting) this.#written.add(serverName);
    } catch (err) {
      // It is only remembered less: what is not written is found out again.
      logger.warn('outages of other servers could not be stored', { err, servers: changes.length });
    }
  }
}
