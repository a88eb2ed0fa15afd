import { RankedLine } from '#src/kernel/limits/line.ts';
import { systemTimers, type Timers } from '#src/kernel/timers.ts';
import { currentWork } from '#src/kernel/event-loop/work.ts';

/** Writes that many requests wait for: they go before the requests of a single user. */
const FIRST: ReadonlySet<string> = new Set(['writer']);
/** How many of one party may wait. */
export const MAX_WAITING = 100_000;

interface Waiting {
  readonly begin: () => boolean;
}

/**
 * The line for connections to the database. Users take turns, however many statements of each wait: a request that takes hundreds of statements
 * delays only its own user. Some may be for the writer alone.
 */
export class ConnectionLine {
  readonly #timeoutMs: number;
  readonly #tooLate: () => Error;
  readonly #timers: Pick<Timers, 'after'>;
  readonly #line = new RankedLine<Waiting>(MAX_WAITING, 2);
  readonly #reserved: number;
  #free: number;
  /** Those in line who have waited too long: their places are passed over. */
  #gone = 0;

  /**
   * @param connections how many there are
   * @param reserved of them, for the writer alone: it would else wait until one of the others is done, and those take turns with much that is slow
   * @param timeoutMs how long one is waited for
   * @param tooLate makes the error for who has waited so long; that of a database that is away, when left out
   */
  constructor(
    { connections, reserved = 0 }: { readonly connections: number; readonly reserved?: number },
    timeoutMs: number,
    timers: Pick<Timers, 'after'> = systemTimers,
    tooLate: () => Error = noConnection,
  ) {
    this.#tooLate = tooLate;
    this.#timers = timers;
    this.#free = connections;
    this.#reserved = reserved;
    this.#timeoutMs = timeoutMs;
  }

  /** How many wait. Who waited too long has left. */
  get waiting(): number {
    return this.#line.size - this.#gone;
  }

  /**
   * Takes a connection, which is to be returned with `give`.
   *
   * @returns undefined where one is free, which is the usual case; else what rejects when there is none in time
   */
  take(): Promise<void> | undefined {
    const work = currentWork();
    const rank = FIRST.has(work?.name ?? '') ? 0 : 1;
    if (this.#free > (rank === 0 ? 0 : this.#reserved)) {
      this.#free -= 1;
      return undefined;
    }
    return new Promise((resolve, reject) => {
      let isOver = false;
      const timer = this.#timers.after(this.#timeoutMs, () => {
        isOver = true;
        this.#gone += 1;
        reject(this.#tooLate());
      });
      const begin = (): boolean => {
        timer.cancel();
        if (isOver) this.#gone -= 1;
        else resolve();
        return !isOver;
      };
      if (this.#line.join(work?.party?.() ?? work?.name ?? 'unnamed', rank, { begin })) return;
      timer.cancel();
      reject(this.#tooLate());
    });
  }

  give(): void {
    if (this.#free < this.#reserved && !this.#line.hasBefore(0)) {
      this.#free += 1;
      return;
    }
    for (let next = this.#line.next(); next !== undefined; next = this.#line.next()) if (next.begin()) return;
    this.#free += 1;
  }
}

/** As the pool says it. */
const noConnection = (): Error => new Error('timeout exceeded when trying to connect');
