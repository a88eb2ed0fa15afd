import { setImmediate } from 'node:timers/promises';
import { assertWanted } from '#src/kernel/event-loop/client-gone.ts';
import { FairGate } from '#src/kernel/limits/fair-gate.ts';
import { LAST_RANK, type Turns } from '#src/kernel/event-loop/turns.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';

/**
 * Large syncs that are computed at once. When all clients come back after an outage, more of them would only wait for each other's database
 * connections, and hold everything in memory.
 */
export const CONCURRENCY = 8;
/** How many of one user may wait; of all together fewer than twice as many. */
export const MAX_WAITING = 2_000;

/** Whose sync it is. */
export interface LargeSyncOf {
  readonly userId: string;
  /** Of the request: when its client is gone, nothing more is computed for it. */
  readonly signal: AbortSignal | undefined;
}

const tooMany = (): Error => limitExceeded('first_syncs', 5_000);

/**
 * Limits how many large syncs (first syncs, and sliding ones of many lists) are computed at once, and how long all of them together may take of
 * one turn of the event loop. Users take turns.
 */
export class LargeSyncs {
  readonly #gate = new FairGate({ concurrency: CONCURRENCY, maxWaiting: MAX_WAITING });
  readonly #turns: Turns;

  /** @param turns those in which requests begin */
  constructor(turns: Turns) {
    this.#turns = turns;
  }

  /** @throws MatrixError M_LIMIT_EXCEEDED when too many wait already; ClientGone */
  run<T>(of: LargeSyncOf, compute: () => Promise<T>): Promise<T> {
    const inTurn = async (): Promise<T> => {
      await this.#enter(of);
      return compute();
    };
    return this.#gate.run({ party: of.userId, isPreferred: false }, inTurn, tooMany);
  }

  /** Yields the event loop to other requests. @throws ClientGone */
  async pause(of: LargeSyncOf): Promise<void> {
    await setImmediate();
    await this.#enter(of);
  }

  async #enter({ signal, userId }: LargeSyncOf): Promise<void> {
    // Before it takes a turn from others, too.
    assertWanted(signal);
    const waiting = this.#turns.resume({ party: userId, rank: LAST_RANK });
    if (waiting === undefined) return;
    await waiting;
    assertWanted(signal);
  }
}
