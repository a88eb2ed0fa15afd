import { currentWork, doing, timeForMore, Work } from '#src/kernel/event-loop/work.ts';
import { writeAll } from './write-all.ts';

export interface BatchesOptions<T> {
  /** Names the work in logs and metrics; it is not charged to any of the callers. */
  readonly name: string;
  /** Items in one batch at most. */
  readonly most: number;
  /** Whether an item is a batch of its own, since it would hold up others; when left out, none is. */
  readonly isAlone?: (item: T) => boolean;
  /** Does a batch. It does not throw: what becomes of each item is told to its caller. */
  readonly work: (batch: readonly T[]) => Promise<void>;
}

/**
 * Collects the items of one turn of the event loop and processes them together: one batch at a time, in order. While a batch
 * is done, the next one fills.
 */
export class Batches<T> {
  readonly #name: string;
  readonly #most: number;
  readonly #isAlone: ((item: T) => boolean) | undefined;
  readonly #work: (batch: readonly T[]) => Promise<void>;
  #queue: T[] = [];
  #running: Promise<void> | undefined;

  constructor({ name, most, isAlone, work }: BatchesOptions<T>) {
    this.#name = name;
    this.#most = most;
    this.#isAlone = isAlone;
    this.#work = work;
  }

  /** How many wait for the next batches. */
  get waiting(): number {
    return this.#queue.length;
  }

  add(item: T): void {
    this.#queue.push(item);
    this.#running ??= doing(new Work(this.#name), () => this.#run());
  }

  /** Resolves when nothing waits, and nothing is being done. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async #run(): Promise<void> {
    // One turn of the event loop lets the others of this turn come along: that is what fills the first batch.
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
    try {
      while (this.#queue.length > 0) await this.#work(this.#queue.splice(0, this.#length()));
    } finally {
      this.#running = undefined;
    }
  }

  /** How long the next batch is. */
  #length(): number {
    const isAlone = this.#isAlone;
    if (isAlone === undefined) return this.#most;
    const first = this.#queue.slice(0, this.#most).findIndex(isAlone);
    return first === -1 ? this.#most : Math.max(first, 1);
  }
}

interface Asked<T, R> {
  readonly item: T;
  readonly resolve: (result: R) => void;
  readonly reject: (error: unknown) => void;
}

export interface AnsweredBatchesOptions<T, R> {
  readonly name: string;
  readonly most: number;
  /** Processes a batch. It may be called again with a part of what it failed with. @returns the answer of each item */
  readonly work: (batch: readonly T[]) => Promise<(item: T) => R>;
  /** Whether an error would be the same for each item: then it rejects all callers of the batch. */
  readonly isHopeless: (error: unknown) => boolean;
}

/** Batches of questions: each caller gets its own answer, and only those whose items cannot be processed get an error. */
export class AnsweredBatches<T, R> {
  readonly #batches: Batches<Asked<T, R>>;

  constructor({ name, most, work, isHopeless }: AnsweredBatchesOptions<T, R>) {
    this.#batches = new Batches<Asked<T, R>>({
      name,
      most,
      work: (batch) =>
        writeAll(
          batch,
          async (some) => {
            const answerTo = await work(some.map(({ item }) => item));
            for (const { item, resolve } of some) resolve(answerTo(item));
          },
          isHopeless,
          (some, error) => {
            for (const { reject } of some) reject(error);
          },
        ),
    });
  }

  ask(item: T): Promise<R> {
    const asked = new Promise<R>((resolve, reject) => {
      this.#batches.add({ item, resolve, reject });
    });
    if (currentWork()?.resume === undefined) return asked;
    // All of a batch resume at once.
    return asked.then((answer) => timeForMore()?.then(() => answer) ?? answer);
  }
}
