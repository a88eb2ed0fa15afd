import type * as BullMq from 'bullmq';
import type { Job, JobsOptions, PgPool, Queue, Worker, WorkerOptions } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Logger } from '#src/kernel/logger.ts';
import { type JobDefinition, type QueueName, QUEUES } from './job-definition.ts';

/** Where queues are kept: in PostgreSQL, on connections that storage made for them, or in Redis. */
export type QueueStore =
  | { readonly kind: 'postgres'; readonly pool: PgPool }
  | { readonly kind: 'redis'; readonly url: string; readonly prefix: string };

const MAX_BACKOFF_MS = 3_600_000;
const KEEP_COMPLETED = { age: 3_600, count: 1_000 };
const KEEP_FAILED = { age: 7 * 86_400, count: 1_000 };

/** Makes queues and workers of BullMQ, which is loaded by `open`, in PostgreSQL or Redis. */
export class BullStore {
  readonly #store: QueueStore;
  readonly #logger: Logger;
  readonly #lockMs: number;
  #bull: typeof BullMq | undefined;
  #redis: Redis | undefined;

  /** @param lockMs milliseconds after which another process takes over a job of a process that died */
  constructor(store: QueueStore, logger: Logger, lockMs = 15_000) {
    this.#store = store;
    this.#logger = logger;
    this.#lockMs = lockMs;
  }

  /** Connects, and makes the queues' tables where they lie in PostgreSQL. @throws when the store cannot be reached */
  async open(): Promise<void> {
    const bull = await import('bullmq');
    this.#bull = bull;
    if (this.#store.kind === 'postgres') {
      const client = await this.#store.pool.connect();
      try {
        await bull.runMigrations(client);
      } finally {
        client.release();
      }
    } else {
      const ioredis = await import('ioredis');
      this.#redis = new ioredis.Redis(this.#store.url, { maxRetriesPerRequest: null, lazyConnect: true });
      this.#redis.on('error', (err) => this.#logger.warn('Redis does not answer', { reason: err.message }));
      await this.#redis.connect();
    }
  }

  /** Ends the connections. */
  async close(): Promise<void> {
    this.#redis?.disconnect();
    if (this.#store.kind === 'postgres') await this.#store.pool.end();
  }

  /** Is thrown by a worker whose job waits again: it was moved back, and neither done nor failed. */
  waitingError(): Error {
    return new (this.#library().WaitingError)();
  }

  queue(name: QueueName): Queue {
    const store = this.#store;
    const bull = this.#library();
    if (store.kind === 'postgres') {
      return new bull.Queue(name, { connection: store.pool }, bull.createPostgresBackend) as unknown as Queue;
    }
    return new bull.Queue(name, { connection: this.#connection(), prefix: store.prefix });
  }

  /** @param process does a job */
  worker(name: QueueName, process: (job: Job, token?: string) => Promise<void>): Worker {
    const store = this.#store;
    const lockMs = this.#lockMs;
    const bull = this.#library();
    const options: Omit<WorkerOptions, 'connection'> = {
      concurrency: QUEUES[name].concurrency,
      // A new job wakes an idle worker, and one that is due is waited for. It looks by itself for those of which a killed process had the lock.
      drainDelay: lockMs / 1_000,
      lockDuration: lockMs,
      stalledInterval: Math.ceil(lockMs / 3),
      // A process that is killed says nothing about the job that it did.
      maxStalledCount: 100,
      removeOnComplete: KEEP_COMPLETED,
      removeOnFail: KEEP_FAILED,
      settings: { backoffStrategy: backoffOf },
    };
    if (store.kind === 'postgres') {
      return new bull.Worker(
        name,
        process,
        { ...options, connection: store.pool },
        bull.createPostgresBackend,
      ) as unknown as Worker;
    }
    return new bull.Worker(name, process, { ...options, connection: this.#connection(), prefix: store.prefix });
  }

  #connection(): Redis {
    if (this.#redis === undefined) throw new Error('Redis is not connected');
    return this.#redis;
  }

  #library(): typeof BullMq {
    if (this.#bull === undefined) throw new Error('the queues are not open');
    return this.#bull;
  }
}

/** Each wait is twice as long as the one before it, up to a bound: what is mended is tried again within an hour. */
const backoffOf = (tried: number, _type?: string, _error?: Error, job?: { readonly opts: JobsOptions }): number => {
  const backoff = job?.opts.backoff;
  const first = (typeof backoff === 'object' ? backoff.delay : undefined) ?? 1_000;
  return Math.min(first * 2 ** (tried - 1), MAX_BACKOFF_MS);
};

/** How a job of a definition is added to its queue. */
export const optionsOf = (definition: JobDefinition): JobsOptions => ({
  attempts: definition.attempts,
  backoff: { type: 'bounded', delay: definition.backoffMs },
  removeOnComplete: KEEP_COMPLETED,
  removeOnFail: KEEP_FAILED,
});
