import type { Logger } from '#src/kernel/logger.ts';
import { TimedBackground } from '#src/kernel/concurrency/timed-background.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import type { JobQueues } from '#src/jobs/job-queues.ts';
import type { Database } from '#src/storage/database.ts';
import { claimOutbox, deleteOutbox, type OutboxRecord } from '#src/storage/delivery/outbox.ts';

/** How often it looks without having been woken: for rows of processes that died between commit and hand-over. */
const LOOK_EVERY_MS = 60_000;
/** Milliseconds after which what could not be handed over is tried again. */
const RETRY_MS = 5_000;
const BATCH = 100;

export interface OutboxRelayOptions {
  readonly database: Database;
  readonly queues: Pick<JobQueues, 'add' | 'knows'>;
  readonly timers: Timers;
  readonly logger: Logger;
}

/**
 * Hands jobs over from the outbox, where they were committed together with what made them necessary, to the queues. A row goes
 * when its job is in the queue; killed in between, the next one hands it over again under the same id, which is the same job.
 */
export class OutboxRelay {
  readonly #options: OutboxRelayOptions;
  #timer: Timer | undefined;
  readonly #relay: TimedBackground;
  #stopListening: (() => void) | undefined;

  constructor(options: OutboxRelayOptions) {
    this.#options = options;
    this.#relay = new TimedBackground(
      'outbox',
      () => this.#handOverAll(),
      (err) => {
        options.logger.warn('jobs could not be moved from the outbox to their queues; it is retried', { err });
        this.#relay.wakeAfter(RETRY_MS);
      },
      options.timers,
    );
  }

  start(): void {
    const { database, timers } = this.#options;
    this.#stopListening = database.enqueued.subscribe(() => this.wake());
    this.#timer = timers.every(LOOK_EVERY_MS, () => this.wake());
    this.wake();
  }

  /** Looks into the outbox now. */
  wake(): void {
    this.#relay.wake();
  }

  /** Resolves when everything that was in the outbox has been handed over, or could not be. */
  idle(): Promise<void> {
    return this.#relay.idle();
  }

  async close(): Promise<void> {
    this.#timer?.cancel();
    this.#stopListening?.();
    await this.#relay.close();
  }

  async #handOverAll(): Promise<void> {
    while (!this.#relay.isClosed && (await this.#handOver()));
  }

  /** @returns whether there may be more */
  #handOver(): Promise<boolean> {
    const { database, queues, logger } = this.#options;
    return database.write(async (tx) => {
      const rows = await claimOutbox(tx, BATCH);
      const done: OutboxRecord[] = [];
      let isFull = false;
      for (const row of rows) {
        if (queues.knows(row.job)) isFull = !(await this.#add(row));
        else logger.error('a job in the outbox is of no known kind and is dropped', { job: row.job });
        if (isFull) break;
        done.push(row);
      }
      if (done.length > 0)
        await deleteOutbox(
          tx,
          done.map((row) => row.id),
        );
      if (isFull) this.#relay.wakeAfter(RETRY_MS);
      return !isFull && rows.length === BATCH;
    });
  }

  #add({ id, job, payload }: OutboxRecord): Promise<boolean> {
    return this.#options.queues.add(job, payload, `outbox-${id}`);
  }
}
