import { systemTimers, type Timers } from '#src/kernel/timers.ts';
import { assertWorkWanted } from '#src/kernel/event-loop/client-gone.ts';
import { currentWork, type Work } from '#src/kernel/event-loop/work.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import type { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { ConnectionLine } from './connection-line.ts';

/** Bytes of a request's body from which what it writes counts as large. */
export const LARGE_BYTES = 32 * 1024;
/** Transactions of large requests at the same time. */
export const CONCURRENCY = 1;
const RETRY_AFTER_MS = 5_000;

const tooLate = (): MatrixError =>
  limitExceeded(
    'large_writes',
    RETRY_AFTER_MS,
    'This server is busy storing other large requests: try again shortly, or with less at once.',
  );

/**
 * Transactions of requests with large bodies run one at a time, users in turn. What they write goes through the same write-ahead log as messages:
 * a commit waits until everything before it in the log is on disk, and that must not be megabytes of many requests. One at a time they are not
 * slower altogether, since they do not wait for each other's locks. Single statements do not wait: a transaction may need one that another
 * request has begun.
 */
export class LargeWrites {
  readonly #line: ConnectionLine;
  /** Requests whose transaction runs: what one begins within it runs at once. */
  readonly #running = new Set<Work>();

  /** @param timeoutMs how long a request waits for its turn */
  constructor(timeoutMs: number, timers: Pick<Timers, 'after'> = systemTimers) {
    this.#line = new ConnectionLine({ connections: CONCURRENCY }, timeoutMs, timers, tooLate);
  }

  /** How many transactions wait for their turn. */
  get waiting(): number {
    return this.#line.waiting;
  }

  /**
   * Runs a transaction of the request that is being handled when it is its turn; at once where the request is not large.
   *
   * @throws MatrixError M_LIMIT_EXCEEDED when its turn does not come in time
   * @throws ClientGone when its client is gone by then
   */
  run<T>(transaction: () => Promise<T>): Promise<T> {
    const work = currentWork();
    const mayRun = work === undefined || work.bytesIn < LARGE_BYTES || this.#running.has(work);
    return mayRun ? transaction() : this.#runInTurn(work, transaction);
  }

  async #runInTurn<T>(work: Work, transaction: () => Promise<T>): Promise<T> {
    await this.#line.take();
    this.#running.add(work);
    try {
      assertWorkWanted(work);
      return await transaction();
    } finally {
      this.#running.delete(work);
      this.#line.give();
    }
  }
}
