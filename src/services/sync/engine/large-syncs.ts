import { FairGate } from '#src/kernel/fair-gate.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';

/**
 * Computed at once. When everybody comes back together after an outage, more of them would only wait for each other's database connections
 * and hold all of it in memory.
 */
const AT_ONCE = 8;
/** How many of one user may wait; of all together fewer than twice as many. */
const MOST_WAITING = 2_000;

const tooMany = (): Error => limitExceeded('first_syncs', 5_000);

/** Lets only so many syncs that tell all rooms of a user be computed at once. Users take turns. */
export class LargeSyncs {
  readonly #gate = new FairGate({ concurrency: AT_ONCE, maxWaiting: MOST_WAITING });

  /** @throws MatrixError M_LIMIT_EXCEEDED when too many wait already */
  run<T>(userId: string, compute: () => Promise<T>): Promise<T> {
    return this.#gate.run({ party: userId, isPreferred: false }, compute, tooMany);
  }
}
