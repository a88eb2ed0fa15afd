import type { Clock } from '#src/kernel/clock.ts';
import { LogFlood } from '#src/kernel/logging/log-flood.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Timers } from '#src/kernel/timers.ts';
import type { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { type Database, sql } from '#src/storage/database.ts';
import { isUnavailable, clientErrorOf } from '#src/storage/failures.ts';

const PING = sql('ping', 'select 1');
/** Allocates disk space, as much as a few messages do, and frees it. */
const TAKE_ROOM = sql(
  'health_take_room',
  `create temporary table takes_room on commit drop as
     select md5(n::text || clock_timestamp()::text) as filling from generate_series(1, 8000) n`,
);
/** How long an answer is cached: there may be many probes, and each costs a statement. */
const REMEMBERED_MS = 1_000;

/** Whether the database can be used, as far as this process knows. */
export class Health {
  readonly #deps: { readonly database: Database; readonly clock: Clock };
  readonly #flood: LogFlood;
  /** Something could not be written. */
  #isSuspect = false;
  #known: { readonly until: number; readonly isReady: Promise<boolean> } | undefined;

  constructor(deps: {
    readonly database: Database;
    readonly clock: Clock;
    readonly timers: Timers;
    readonly logger: Logger;
  }) {
    this.#deps = deps;
    this.#flood = new LogFlood(deps.logger, deps.timers, { most: 1 });
  }

  /** Whether requests can be served. Answers from memory for a second. */
  isReady(): Promise<boolean> {
    const now = this.#deps.clock.monotonic();
    if (this.#known === undefined || this.#known.until <= now)
      this.#known = { until: now + REMEMBERED_MS, isReady: this.#look() };
    return this.#known.isReady;
  }

  /**
   * What a client is answered for an error that is not a bug of this program; undefined where it may be one. An outage is one line of the log for
   * all failures in a while, and ends readiness until something can be written again.
   */
  readonly explain = (error: unknown): MatrixError | undefined => {
    const refusal = clientErrorOf(error);
    if (refusal?.status !== 503) return refusal;
    if (!this.#isSuspect) this.#known = undefined;
    this.#isSuspect = true;
    const reason = error instanceof Error ? error.message : String(error);
    this.#flood.write('error', 'database', 'the database cannot be used: requests are answered 503', { reason });
    return refusal;
  };

  async #look(): Promise<boolean> {
    const { database } = this.#deps;
    try {
      if (this.#isSuspect) await database.write((tx) => tx.query(TAKE_ROOM));
      else await database.query(PING);
      this.#isSuspect = false;
      return true;
    } catch (error) {
      this.#isSuspect ||= isUnavailable(error);
      return false;
    }
  }
}
