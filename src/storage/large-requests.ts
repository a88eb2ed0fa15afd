import { currentWork, type Work } from '#src/kernel/work.ts';
import { ConnectionLine } from './connection-line.ts';

/** Bytes of a request's body from which it counts as large. */
const LARGE_BYTES = 32 * 1024;
/** Large requests that use the database at the same time. */
const AT_ONCE = 1;

/** The time during which a large request uses the database. */
export interface LargeTurn {
  /** Resolves when it begins, rejects when it does not begin in time; undefined when it has begun. */
  readonly begun: Promise<void> | undefined;
  /** Ends it, or gives it up. */
  readonly end: () => void;
}

/**
 * Requests with large bodies use the database one at a time, users in turn. Their writes share the write-ahead log with messages: a commit
 * waits until everything before it in the log is on disk, and that must not be megabytes of many requests. One at a time they are not slower
 * altogether, since they do not wait for each other's locks.
 */
export class LargeRequests {
  readonly #line: ConnectionLine;
  /** How many statements and transactions each request has open in its turn: within a transaction it may read outside of it. */
  readonly #open = new Map<Work, number>();

  /** @param timeoutMs how long a turn is waited for */
  constructor(timeoutMs: number) {
    this.#line = new ConnectionLine(AT_ONCE, timeoutMs);
  }

  /** How many statements and transactions wait for the turn of their request. */
  get waiting(): number {
    return this.#line.waiting;
  }

  /** A turn for the request that is being handled; undefined where it is not large, and need not wait. */
  turn(): LargeTurn | undefined {
    const work = currentWork();
    if (work === undefined || work.bytesIn < LARGE_BYTES) return undefined;
    const open = this.#open.get(work);
    if (open !== undefined) {
      this.#open.set(work, open + 1);
      return { begun: undefined, end: () => this.#end(work) };
    }
    const waiting = this.#line.take();
    if (waiting === undefined) this.#open.set(work, 1);
    let hasBegun = waiting === undefined;
    const begun = waiting?.then(() => {
      hasBegun = true;
      this.#open.set(work, (this.#open.get(work) ?? 0) + 1);
    });
    return { begun, end: () => hasBegun && this.#end(work) };
  }

  #end(work: Work): void {
    const open = (this.#open.get(work) ?? 1) - 1;
    this.#open.set(work, open);
    if (open > 0) return;
    this.#open.delete(work);
    this.#line.give();
  }
}
