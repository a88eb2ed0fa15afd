import type { Job, Queue, Worker } from 'bullmq';
import { systemClock } from '#src/kernel/clock.ts';
import { LogFlood } from '#src/kernel/logging/log-flood.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { type Counter, type Histogram, type Metrics, noMetrics, type Sample } from '#src/kernel/metrics.ts';
import { doing, Work } from '#src/kernel/event-loop/work.ts';
import { Signal } from '#src/kernel/signal.ts';
import { schemaCheck } from '#src/kernel/schemas/schema-check.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { BullStore, optionsOf, type QueueStore } from './bull-store.ts';
import type { JobDefinition, JobHandler, QueueName } from './job-definition.ts';

export interface JobQueuesOptions {
  readonly store: QueueStore;
  readonly definitions: readonly JobDefinition[];
  readonly logger: Logger;
  readonly timers: Timers;
  /** Counts nothing when left out. */
  readonly metrics?: Metrics;
  /** Milliseconds after which another process takes over a job of a process that died. Default 15 s. */
  readonly lockMs?: number | undefined;
}

/** Milliseconds that running jobs get to stop at a good place. */
const CLOSE_MS = 3_000;
/** Jobs that wait in one queue at most; further ones stay in the outbox. */
const WAITING_LIMIT = 10_000;
/** States of jobs that are counted. */
const STATES = ['waiting', 'active', 'delayed', 'failed'] as const;
const BUCKETS_SECONDS = [0.01, 0.05, 0.25, 1, 5, 30, 120, 600];

/** A definition, with what looks at payloads. */
interface Known {
  readonly definition: JobDefinition;
  readonly isPayload: (payload: unknown) => boolean;
}

/** Queues of jobs on BullMQ, which is loaded by `open`: they survive the process, and are done at least once. */
export class JobQueues {
  readonly #options: JobQueuesOptions;
  readonly #flood: LogFlood;
  readonly #known: ReadonlyMap<string, Known>;
  readonly #queues = new Map<QueueName, Queue>();
  readonly #workers: Worker[] = [];
  readonly #ending = new AbortController();
  /** Aborted when its queue is paused here. */
  readonly #pauses = new Map<QueueName, AbortController>();
  /** What waits for a job to end in a way that its worker does not tell of, or for a queue to be paused. */
  readonly #stopped = new Signal<QueueName>();
  /** Names of the jobs that are being done, by their ids. */
  readonly #running = new Map<string, string>();
  readonly #outcomes: Counter;
  readonly #seconds: Histogram;
  readonly #bull: BullStore;
  #done = 0;
  #closing: Promise<void> | undefined;

  constructor(options: JobQueuesOptions) {
    this.#options = options;
    this.#bull = new BullStore(options.store, options.logger, options.lockMs);
    this.#flood = new LogFlood(options.logger, options.timers, { most: 1 });
    const metrics = options.metrics ?? noMetrics;
    this.#outcomes = metrics.counter(
      'tsudoi_jobs_total',
      'attempts to do jobs: done, interrupted by the end of the process or a pause, failed and to be tried again, given up',
      ['kind', 'outcome'],
    );
    this.#seconds = metrics.histogram('tsudoi_job_seconds', 'how long an attempt took', BUCKETS_SECONDS, ['kind']);
    metrics.valuesOf({
      name: 'tsudoi_queue_jobs',
      help: 'jobs in the queues, by state; failed jobs are not retried',
      kind: 'gauge',
      labelNames: ['queue', 'state'],
      read: () => this.#states(),
    });
    metrics.valuesOf({
      name: 'tsudoi_queue_oldest_seconds',
      help: 'age of the oldest waiting job of a queue',
      kind: 'gauge',
      labelNames: ['queue'],
      read: () => this.#ages(),
    });
    this.#known = new Map(
      options.definitions.map((definition) => {
        const check = schemaCheck(definition.payload);
        return [definition.name, { definition, isPayload: (payload) => check(payload) === undefined }];
      }),
    );
  }

  /** Connects, and makes the queues' tables where they lie in PostgreSQL. @throws when the store cannot be reached */
  async open(): Promise<void> {
    await this.#bull.open();
    for (const name of new Set([...this.#known.values()].map(({ definition }) => definition.queue))) {
      const queue = this.#bull.queue(name);
      queue.on('error', (err) => this.#outOfReach(name, err));
      this.#queues.set(name, queue);
    }
    await Promise.all([...this.#queues.values()].map((queue) => queue.waitUntilReady()));
  }

  /**
   * Hands a job over. The same id a second time is the same job.
   *
   * @returns false when so many wait already that this one has to stay in the outbox
   * @throws for an undefined job, or an invalid payload
   */
  async add(name: string, payload: unknown, id: string): Promise<boolean> {
    const known = this.#known.get(name);
    if (known === undefined) throw new Error(`there is no job ${name}`);
    if (!known.isPayload(payload)) throw new Error(`this is no payload of ${name}`);
    const { definition } = known;
    const queue = this.#of(definition);
    if ((await queue.getWaitingCount()) >= WAITING_LIMIT) return false;
    const key = definition.uniqueBy?.(payload);
    const deduplication = key === undefined ? {} : { deduplication: { id: `${name}-${key}`, keepLastIfActive: true } };
    await queue.add(name, payload, { ...optionsOf(definition), jobId: id, ...deduplication });
    return true;
  }

  /** How many jobs were done since the process began, or failed. */
  get done(): number {
    return this.#done;
  }

  /** The names of the queues that are open. */
  get names(): readonly QueueName[] {
    return [...this.#queues.keys()];
  }

  /** The names of the jobs that this process is doing. */
  get running(): readonly string[] {
    return [...this.#running.values()];
  }

  /** Whether a job of this name is defined. */
  knows(name: string): boolean {
    return this.#known.has(name);
  }

  /** Makes a job every `ms` milliseconds, from now on and over restarts; asked again with another time, it is that. */
  async repeat(definition: JobDefinition, ms: number): Promise<void> {
    const template = { name: definition.name, data: {}, opts: optionsOf(definition) };
    await this.#of(definition).upsertJobScheduler(definition.name, { every: ms }, template);
  }

  /** Queues and their workers find out by the dozen that the database is away: one line says it for all. */
  #outOfReach(queue: string, { message }: Error): void {
    this.#flood.write('warn', 'queue', 'a queue is out of reach', { queue, reason: message });
  }

  /** Ends the repetition of a job. */
  async forget(definition: JobDefinition): Promise<void> {
    await this.#of(definition).removeJobScheduler(definition.name);
  }

  /** Begins to do jobs. */
  async work(handlers: readonly JobHandler[]): Promise<void> {
    const byName = new Map(handlers.map((handler) => [handler.definition.name, handler]));
    for (const [name, queue] of this.#queues) {
      const worker = this.#bull.worker(name, (job, token) => this.#run(byName.get(job.name), job, token));
      worker.on('error', (err) => this.#outOfReach(queue.name, err));
      worker.on('completed', (job) => {
        this.#done += 1;
        this.#outcomes.inc({ kind: this.#nameOf(job), outcome: 'done' });
      });
      worker.on('failed', (job, err) => {
        this.#done += 1;
        const tried = job?.attemptsMade ?? 0;
        const isLast = tried >= (job?.opts.attempts ?? 1);
        this.#outcomes.inc({ kind: this.#nameOf(job), outcome: isLast ? 'given_up' : 'failed' });
        const fields = { job: job?.name, id: job?.id, tried, err };
        if (isLast) this.#options.logger.error('a job failed', { ...fields, given_up: true });
        else this.#options.logger.warn('a job failed', fields);
      });
      this.#workers.push(worker);
    }
    await Promise.all(this.#workers.map((worker) => worker.waitUntilReady()));
  }

  /** Has no more jobs of a queue done by any node, until it is resumed. What this process is doing stops at a good place. */
  async pause(name: QueueName): Promise<void> {
    await this.#queues.get(name)?.pause();
    this.#pauses.get(name)?.abort();
    this.#pauses.delete(name);
    this.#stopped.emit(name);
  }

  async resume(name: QueueName): Promise<void> {
    await this.#queues.get(name)?.resume();
  }

  isPaused(name: QueueName): Promise<boolean> {
    return this.#queues.get(name)?.isPaused() ?? Promise.resolve(false);
  }

  /** Counts of a queue's jobs: waiting, active, delayed, failed. */
  counts(queue: QueueName): Promise<Record<string, number>> {
    return this.#queues.get(queue)?.getJobCounts(...STATES) ?? Promise.resolve({});
  }

  async #states(): Promise<Sample[]> {
    const counts = [...this.#queues].map(async ([name, queue]): Promise<Sample[]> => {
      const found = await queue.getJobCounts(...STATES);
      return STATES.map((state) => ({ labels: { queue: name, state }, value: found[state] ?? 0 }));
    });
    return (await Promise.all(counts)).flat();
  }

  /** The queues' own times are the machine's. */
  #ages(): Promise<Sample[]> {
    const ages = [...this.#queues].map(async ([name, queue]): Promise<Sample> => {
      const [next] = await queue.getJobs(['waiting'], 0, 0, true);
      const ms = next === undefined ? 0 : Math.max(0, systemClock.now() - next.timestamp);
      return { labels: { queue: name }, value: ms / 1_000 };
    });
    return Promise.all(ages);
  }

  /**
   * Resolves when no job waits or is being done. Jobs that failed and wait for their next attempt are passed over, and so are those of queues
   * that are paused.
   */
  async idle(): Promise<void> {
    for (;;) {
      const next = Promise.withResolvers<void>();
      const wake = (): void => next.resolve();
      for (const worker of this.#workers) worker.on('completed', wake).on('failed', wake);
      const unsubscribe = this.#stopped.subscribe(wake);
      try {
        if (this.#ending.signal.aborted || this.#workers.length === 0 || !(await this.#isBusy())) return;
        await next.promise;
      } finally {
        for (const worker of this.#workers) worker.off('completed', wake).off('failed', wake);
        unsubscribe();
      }
    }
  }

  async #isBusy(): Promise<boolean> {
    const counts = await Promise.all(
      [...this.#queues.values()].map(async (queue) => {
        const [{ active = 0, waiting = 0 }, isPaused] = await Promise.all([
          queue.getJobCounts('waiting', 'active'),
          queue.isPaused(),
        ]);
        return isPaused ? active : active + waiting;
      }),
    );
    return counts.some((count) => count > 0);
  }

  /** Takes no more jobs, lets running ones stop at a good place, and closes the connections. In 5 s at most. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { timers } = this.#options;
    this.#ending.abort();
    const closing = Promise.allSettled(this.#workers.map((worker) => worker.close()));
    await Promise.race([closing, timers.sleep(CLOSE_MS)]);
    const rest = Promise.allSettled([
      ...this.#workers.map((worker) => worker.close(true)),
      ...[...this.#queues.values()].map((queue) => queue.close()),
    ]).then(() => this.#bull.close());
    await Promise.race([rest, timers.sleep(CLOSE_MS / 2)]);
  }

  async #run(handler: JobHandler | undefined, job: Job, token: string | undefined): Promise<void> {
    if (handler === undefined) throw new Error(`nobody does the job ${job.name}`);
    if (this.#known.get(job.name)?.isPayload(job.data) !== true)
      throw new Error(`the payload of ${job.name} is not as defined`);
    const outcome = this.#ending.signal.aborted ? 'interrupted' : await this.#do(handler, job);
    if (outcome !== 'interrupted') return;
    this.#outcomes.inc({ kind: job.name, outcome: 'interrupted' });
    await job.moveToWait(token);
    this.#stopped.emit(handler.definition.queue);
    throw this.#bull.waitingError();
  }

  async #do(handler: JobHandler, { id = '', name, data }: Job): ReturnType<JobHandler['run']> {
    this.#running.set(id, name);
    const began = systemClock.monotonic();
    try {
      return await doing(new Work(`job.${name}`), () => handler.run(data, this.#signalOf(handler.definition.queue)));
    } finally {
      this.#running.delete(id);
      this.#seconds.observe((systemClock.monotonic() - began) / 1_000, { kind: name });
    }
  }

  /** Aborted when the process ends, or the queue is paused. */
  #signalOf(queue: QueueName): AbortSignal {
    let pause = this.#pauses.get(queue);
    if (pause === undefined) this.#pauses.set(queue, (pause = new AbortController()));
    return AbortSignal.any([this.#ending.signal, pause.signal]);
  }

  /** A label for a job: what is in the queue need not be defined any more. */
  #nameOf(job: Job | undefined): string {
    return job !== undefined && this.#known.has(job.name) ? job.name : 'unknown';
  }

  #of(definition: JobDefinition): Queue {
    const queue = this.#queues.get(definition.queue);
    if (queue === undefined) throw new Error(`the queue ${definition.queue} is not open`);
    return queue;
  }
}
