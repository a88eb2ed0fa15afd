import type { Database } from '#src/storage/database.ts';
import { type DelayRestart, restartDelayedEvents } from '#src/storage/rooms/delayed-events.ts';

const MOST_AT_ONCE = 500;

interface Waiting extends DelayRestart {
  readonly resolve: (wasScheduled: boolean) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Lets the time of delayed events begin anew. Clients in calls ask for that every few seconds: what comes while a statement runs is
 * written together by the next one.
 */
export class DelayRestarts {
  readonly #database: Database;
  #waiting: Waiting[] = [];
  #isRunning = false;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Committed when it resolves. @returns whether it was scheduled still; one at a time for each delayed event */
  restart(restart: DelayRestart): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ...restart, resolve, reject });
      if (!this.#isRunning) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    // One turn of the event loop lets the other requests of this turn come along.
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, MOST_AT_ONCE);
      try {
        const restarted = await restartDelayedEvents(this.#database, batch);
        for (const { delayId, resolve } of batch) resolve(restarted.has(delayId));
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#isRunning = false;
  }
}
