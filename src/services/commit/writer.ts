import { Batches } from '#src/kernel/concurrency/batches.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { FairGate } from '#src/kernel/limits/fair-gate.ts';
import { LogFlood } from '#src/kernel/logging/log-flood.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Histogram, Metrics } from '#src/kernel/metrics.ts';
import { Signal } from '#src/kernel/signal.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { assertWorkWanted } from '#src/kernel/event-loop/client-gone.ts';
import { currentWork } from '#src/kernel/event-loop/work.ts';
import { limiterFields, limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { ORIGIN, type PositionVector, positionOf, SHARDS, shardOfPosition } from '#src/protocol/wire/position.ts';
import type { Database } from '#src/storage/database.ts';
import type { WasAwaited } from '#src/storage/events/event-writes.ts';
import { claimShards, shardEpochs } from '#src/storage/commit/shards.ts';
import { isUnavailable } from '#src/storage/failures.ts';
import { StaleEpochError } from '#src/storage/commit/guarded-batch.ts';
import { BatchCommit } from './batch-commit.ts';
import type { Operation, WriteRequest } from './operation.ts';

/** The write built on an earlier one that failed: the caller builds it again on what is committed. */
export class BuiltOnFailedWriteError extends Error {
  constructor() {
    super('the write was built on another one that failed');
    this.name = 'BuiltOnFailedWriteError';
  }
}

/** Too much waits to be written, whichever party it is for: the client may try again in a moment. */
export class WriterOverloadedError extends MatrixError {
  constructor() {
    super('M_LIMIT_EXCEEDED', 'The server has more to write than it can keep up with.', limiterFields('writer', 1_000));
    this.name = 'WriterOverloadedError';
  }
}

const tooManyLarge = (): MatrixError =>
  limitExceeded('writer_large', 1_000, 'Too many of your large requests wait to be written: try again in a moment.');

/** Bytes from which on a write has a batch of its own, and how many of one party may wait for theirs. */
export const LARGE_BYTES = 64 * 1024;
export const MAX_LARGE_WAITING = 1_000;

export interface WriterOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Most operations in one batch. */
  readonly batchSize?: number;
  /** Operations that may wait before new ones are turned away. */
  readonly queueLimit?: number;
}

/**
 * The group-commit writer: everything that gets a position goes through here, in the order in which the positions were given out.
 * It takes all that is queued, writes it in one statement and one commit, publishes it, and answers; while a batch commits the
 * next one fills. Nothing is published before its commit.
 */
export class Writer {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #flood: LogFlood;
  readonly #commit: BatchCommit;
  readonly #queueLimit: number;
  readonly #sequences: number[] = Array.from({ length: SHARDS }, () => 0);
  readonly #epochs: number[] = Array.from({ length: SHARDS }, () => -1);
  readonly #committed: number[] = [...ORIGIN];
  /** The same as it was given out, until it changes. */
  #snapshot: PositionVector | undefined;
  readonly #batchSeconds: Histogram;
  readonly #batchEvents: Histogram;
  readonly #batches: Batches<Operation>;
  readonly #large = new FairGate({ concurrency: 1, maxWaiting: MAX_LARGE_WAITING });
  /** The batch that is being committed. */
  #committing: Promise<void> | undefined;
  #closed = false;
  /** Fires once after each batch has been published. */
  readonly published = new Signal<void>();
  /** Fires when another process owns a shard by now: this one must stop. */
  readonly lostOwnership = new Signal<void>();

  constructor(options: WriterOptions) {
    this.#database = options.database;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#flood = new LogFlood(options.logger, options.timers, { most: 1 });
    this.#commit = new BatchCommit(options.database, options.timers, options.logger);
    this.#batches = new Batches({
      name: 'writer',
      most: options.batchSize ?? 400,
      isAlone: ({ isLarge }) => isLarge,
      work: async (batch) => {
        this.#committing = this.#write(batch);
        await this.#committing;
        this.#committing = undefined;
      },
    });
    this.#queueLimit = options.queueLimit ?? 20_000;
    this.#batchSeconds = options.metrics.histogram(
      'tsudoi_writer_batch_seconds',
      'time from taking a batch to its commit',
      [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2],
    );
    this.#batchEvents = options.metrics.histogram(
      'tsudoi_writer_batch_operations',
      'operations in one batch',
      [1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
    );
    options.metrics.gaugeOf('tsudoi_writer_queue', 'operations that wait for the writer', () => this.#batches.waiting);
  }

  /** Takes all shards over from the process that owned them before. */
  async start(): Promise<void> {
    const rows = await claimShards(this.#database, [...this.#sequences.keys()]);
    for (const row of rows) {
      this.#sequences[row.id] = row.seq;
      this.#epochs[row.id] = row.epoch;
      this.#committed[row.id] = positionOf(row.seq, row.id);
    }
  }

  /**
   * Writes see for themselves who owns the shards. This is for what is decided by memory, and written otherwise.
   *
   * @throws StaleEpochError when another process has taken over
   */
  async assertOwner(): Promise<void> {
    const owners = await shardEpochs(this.#database, [...this.#epochs.keys()]);
    if (owners.every(({ id, epoch }) => epoch === this.#epochs[id])) return;
    this.#loseOwnership();
    throw new StaleEpochError();
  }

  /** The newest published position of every shard; a snapshot that does not change, and is the same one as long as nothing is published. */
  committed(): PositionVector {
    return (this.#snapshot ??= [...this.#committed]);
  }

  /** The newest published position of one shard. */
  committedIn(shard: number): number {
    return this.#committed[shard] ?? 0;
  }

  /**
   * Gives out the next position of a shard. A caller that takes one must queue the write that uses it in the same turn of the event
   * loop: positions are committed in the order in which they were given out.
   */
  allocate(shard: number): number {
    const sequence = (this.#sequences[shard] ?? 0) + 1;
    this.#sequences[shard] = sequence;
    return positionOf(sequence, shard);
  }

  /**
   * @throws MatrixError M_LIMIT_EXCEEDED when more writes wait than can be done in reasonable time, M_UNKNOWN (503) when the server stops
   */
  assertAccepting(): void {
    if (this.#closed)
      throw new MatrixError('M_UNKNOWN', 'The server is shutting down. Try again in a moment.', {}, 503);
    if (this.#batches.waiting >= this.#queueLimit) throw new WriterOverloadedError();
  }

  /**
   * Queues a write that may be large. Large ones wait until those before them are committed, each has a batch of its own, and parties take
   * turns: a party that writes little meanwhile waits for one of them, not for all.
   *
   * @param party the user or server it is written for
   * @param make takes the positions, in the turn of the event loop in which it is queued
   * @throws MatrixError as `assertAccepting` does, also when too many large ones of the party wait
   * @throws ClientGone for a large one whose client is gone when its turn comes
   */
  async write(party: string, bytes: number, make: () => WriteRequest): Promise<void> {
    const isLarge = bytes >= LARGE_BYTES;
    const work = currentWork();
    if (work !== undefined) work.bytesWritten += bytes;
    const write = (): Promise<void> => {
      if (isLarge) assertWorkWanted(work);
      this.assertAccepting();
      return this.#queue(make(), isLarge);
    };
    if (!isLarge) return write();
    return this.#large.run({ party, isPreferred: false }, write, tooManyLarge);
  }

  /** Queues a write. Resolves when it is committed and published; rejects when the database refused it. */
  append(request: WriteRequest): Promise<void> {
    return this.#queue(request, false);
  }

  #queue(request: WriteRequest, isLarge: boolean): Promise<void> {
    const work = currentWork();
    if (work !== undefined) work.rowsWritten += rowsOf(request);
    return new Promise((resolve, reject) => {
      this.#batches.add({
        isLarge,
        positions: request.positions,
        events: request.events,
        streams: request.streams,
        devices: request.devices,
        isStale: request.isStale ?? (() => false),
        publish: request.publish,
        revert: request.revert ?? (() => {}),
        resolve,
        reject,
        areEventsWritten: false,
      });
    });
  }

  /** Resolves when everything queued so far has been written or refused. */
  idle(): Promise<void> {
    return this.#batches.idle();
  }

  /**
   * Resolves when everything that the database holds by now is published, too: at once, unless a batch is being committed. For answers that are
   * read from the database: what one answer shows, every later one has to show.
   */
  settled(): Promise<void> {
    return this.#committing ?? Promise.resolve();
  }

  /** Resolves when the next batch has been written or refused. */
  nextBatch(): Promise<void> {
    return new Promise((resolve) => {
      const stop = this.published.subscribe(() => {
        stop();
        resolve();
      });
    });
  }

  /** Takes nothing new and writes what is queued. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.idle();
  }

  async #write(batch: readonly Operation[]): Promise<void> {
    const started = this.#clock.monotonic();
    const live = this.#liveOf(batch);
    try {
      if (live.length > 0) this.#publish(live, await this.#commit.commit(live, this.#epochs));
    } catch (error) {
      await this.#writeParts(live, error);
    }
    this.#batchSeconds.observe((this.#clock.monotonic() - started) / 1000);
    this.#batchEvents.observe(batch.length);
    try {
      this.published.emit();
    } catch (err) {
      this.#logger.error('a listener of the writer threw', { err });
    }
    for (const operation of batch) operation.resolve();
  }

  /** Finds the operation that the database does not take, in halves of what was refused: the others are written. */
  async #writeParts(refused: readonly Operation[], reason: unknown, isPart = false): Promise<void> {
    // Each of them would be refused, and those that are built anew on the others.
    const isHopeless = reason instanceof StaleEpochError || isUnavailable(reason);
    if (refused.length === 1 || isHopeless) {
      if (isPart && !isHopeless)
        this.#flood.write('warn', 'refused', 'The database refused a write; the others of its batch are written', {
          err: reason,
        });
      this.#refuse(refused, reason);
      return;
    }
    const middle = refused.length >> 1;
    for (const half of [refused.slice(0, middle), refused.slice(middle)]) {
      const live = this.#liveOf(half);
      try {
        if (live.length > 0) this.#publish(live, await this.#commit.commit(live, this.#epochs));
      } catch (error) {
        await this.#writeParts(live, error, true);
      }
    }
  }

  #liveOf(batch: readonly Operation[]): Operation[] {
    return batch.filter((operation) => !this.#dropIfStale(operation));
  }

  #dropIfStale(operation: Operation): boolean {
    if (!operation.isStale()) return false;
    operation.reject(new BuiltOnFailedWriteError());
    return true;
  }

  #loseOwnership(): void {
    this.#closed = true;
    this.lostOwnership.emit();
  }

  #refuse(operations: readonly Operation[], error: unknown): void {
    if (error instanceof StaleEpochError) this.#loseOwnership();
    for (const operation of operations) {
      operation.revert();
      operation.reject(error);
    }
  }

  #publish(operations: readonly Operation[], wasAwaited: WasAwaited): void {
    for (const operation of operations) {
      try {
        operation.publish(wasAwaited);
      } catch (err) {
        // It is committed: a publisher that fails must not make its sender believe that it is not.
        this.#logger.error('a committed write could not be published', { err });
      }
      this.#advance(operation.positions);
    }
  }

  /** Only what is written may be told: after a restart the positions of refused operations are given out again. */
  #advance(positions: readonly number[]): void {
    for (const position of positions) {
      const shard = shardOfPosition(position);
      if (position <= (this.#committed[shard] ?? 0)) continue;
      this.#committed[shard] = position;
      this.#snapshot = undefined;
    }
  }
}

/** How many rows a write has. */
const rowsOf = ({ devices, events, streams }: WriteRequest): number => {
  let rows = 0;
  for (const part of [events, streams, devices])
    for (const name in part) {
      const some: unknown = part[name as keyof typeof part];
      if (Array.isArray(some)) rows += some.length;
    }
  return rows;
};
