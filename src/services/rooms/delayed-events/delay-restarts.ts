import { AnsweredBatches } from '#src/kernel/concurrency/batches.ts';
import type { Database } from '#src/storage/database.ts';
import { type DelayRestart, restartDelayedEvents } from '#src/storage/rooms/delayed-events.ts';
import { isUnavailable } from '#src/storage/failures.ts';

const BATCH_SIZE = 500;

/**
 * Restarts the delay of delayed events. Clients in calls ask for that every few seconds: requests that arrive while a statement runs are
 * written together by the next one.
 */
export class DelayRestarts {
  readonly #batches: AnsweredBatches<DelayRestart, boolean>;

  constructor(database: Database) {
    this.#batches = new AnsweredBatches({
      name: 'restarts of delayed events',
      most: BATCH_SIZE,
      isHopeless: isUnavailable,
      work: async (batch) => {
        const restarted = await restartDelayedEvents(database, batch);
        return ({ delayId }) => restarted.has(delayId);
      },
    });
  }

  /** Committed when it resolves. @returns whether it was scheduled still; one at a time for each delayed event */
  restart(restart: DelayRestart): Promise<boolean> {
    return this.#batches.ask(restart);
  }
}
