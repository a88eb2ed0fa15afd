import { AsyncLocalStorage } from 'node:async_hooks';
import type { Timer } from '#src/kernel/timers.ts';

/** Milliseconds of a core that things take, roughly; what they are measured by is cheap to count. */
const PER_STATEMENT = 0.1;
const PER_ROW = 0.01;
const PER_JSON_VALUE = 1 / 10_000;
const PER_BYTE_IN = 1 / (64 * 1024);
const PER_BYTE_OUT = 1 / (32 * 1024);
const PER_KIB_HASHED = 1 / 1_600;
const PER_ROW_WRITTEN = 0.02;
const PER_BYTE_WRITTEN = 1 / (64 * 1024);
const PER_BYTE_STREAMED = 1 / (512 * 1024);

/** A unit of work: a request, a frame, a job. Counts what it asks for, to know what it costs. */
export class Work {
  /** Names it in logs and metrics: one of few. */
  readonly name: string;
  /** SQL statements, the rows that they returned or changed, and those that the writer was given. */
  statements = 0;
  rows = 0;
  rowsWritten = 0;
  /** Bytes of large pieces that the writer was given. */
  bytesWritten = 0;
  /** Bytes of the body, and values in its JSON. */
  bytesIn = 0;
  jsonValues = 0;
  /** Bytes of a body that is passed on as it comes: nothing is parsed of it. */
  bytesStreamed = 0;
  /** Bytes of the answer. */
  bytesOut = 0;
  /** KiB of memory that hashes of passwords went over. */
  kibHashed = 0;
  /** Waits until there is time on the event loop for what comes after an answer of the database; where nobody set it, there always is. */
  resume: (() => Promise<void> | undefined) | undefined;
  /** The party it is done for: a user, a server or a network; undefined for none in particular. */
  party: (() => string) | undefined;
  /** Whether nobody waits for what comes of it: the client of a request is gone. Undefined where somebody always does. */
  isUnwanted: (() => boolean) | undefined;
  /** Takes milliseconds from its party's budget that were measured: how long it held the event loop. */
  charge: ((ms: number) => void) | undefined;

  constructor(name: string) {
    this.name = name;
  }

  /** Milliseconds of a core that it has taken, roughly, but for hashes of passwords. */
  get cost(): number {
    return (
      this.statements * PER_STATEMENT +
      this.rows * PER_ROW +
      this.rowsWritten * PER_ROW_WRITTEN +
      this.bytesWritten * PER_BYTE_WRITTEN +
      this.bytesStreamed * PER_BYTE_STREAMED +
      this.jsonValues * PER_JSON_VALUE +
      this.bytesIn * PER_BYTE_IN +
      this.bytesOut * PER_BYTE_OUT
    );
  }

  /** The same of its hashes of passwords. */
  get costOfHashes(): number {
    return this.kibHashed * PER_KIB_HASHED;
  }
}

const LENGTH = 256;

/** What held the event loop, and for how many milliseconds. */
export interface Held {
  readonly name: string;
  readonly ms: number;
  readonly work: Work | undefined;
}

/** What ran recently on the event loop, and since when: as much as is needed to find out what held it up. */
export class Trail {
  readonly #names: string[] = Array.from({ length: LENGTH }, () => '');
  readonly #times = new Float64Array(LENGTH);
  readonly #works: (Work | undefined)[] = Array.from({ length: LENGTH }, () => undefined);
  #at = 0;
  /** Those that rest until something runs. */
  readonly #resting = new Set<() => void>();

  /** Notes that something runs from now on. @param work what it is a part of */
  mark(name: string, now = performance.now(), work?: Work): void {
    this.#at = (this.#at + 1) % LENGTH;
    this.#names[this.#at] = name;
    this.#times[this.#at] = now;
    this.#works[this.#at] = work;
    if (this.#resting.size === 0) return;
    const woken = [...this.#resting];
    this.#resting.clear();
    for (const wake of woken) wake();
  }

  /** When something began to run of late, in monotonic milliseconds. */
  get latest(): number {
    return this.#times[this.#at] as number;
  }

  /** Lets go of the works that ran, and so of the servers that did them; what they were called it still knows. */
  letGo(): void {
    this.#works.fill(undefined);
  }

  /** How many rest until something runs. */
  get resting(): number {
    return this.#resting.size;
  }

  /** Calls `wake` once, when the next thing runs, unless that is cancelled. */
  rest(wake: () => void): Timer {
    this.#resting.add(wake);
    return { cancel: () => this.#resting.delete(wake) };
  }

  /** What ran longest without a break between two times, in monotonic milliseconds; undefined where nothing is known. */
  longest(from: number, to: number): Held | undefined {
    let longest: Held | undefined;
    let end = to;
    for (let back = 0; back < LENGTH; back += 1) {
      const index = (this.#at - back + LENGTH) % LENGTH;
      const name = this.#names[index] as string;
      const began = this.#times[index] as number;
      if (name === '') break;
      const ms = end - Math.max(began, from);
      if (ms > (longest?.ms ?? 0)) longest = { name, ms, work: this.#works[index] };
      if (began <= from) break;
      end = began;
    }
    return longest;
  }
}

/** The trail of this process. */
export const trail = new Trail();

const current = new AsyncLocalStorage<Work>();

/** Does something as a part of `work`, and so everything that it waits for. */
export const doing = <T>(work: Work, run: () => T): T => {
  trail.mark(work.name, undefined, work);
  return current.run(work, run);
};

/** What is being done; undefined where nobody said it. */
export const currentWork = (): Work | undefined => current.getStore();

/** Counts an answer of the database for what is being done, which resumes now. @returns the work, if it has a name */
export const countAnswer = (rows: number): Work | undefined => {
  const work = current.getStore();
  trail.mark(work?.name ?? 'unnamed', undefined, work);
  if (work === undefined) return undefined;
  work.statements += 1;
  work.rows += rows;
  return work;
};

/** The same where work may wait before it resumes. @returns for what, if for anything */
export const databaseAnswered = (rows: number): Promise<void> | undefined => resumed(countAnswer(rows));

/**
 * To be called before what takes a millisecond or more, where much may resume at once: all that waited for the same load, say.
 *
 * @returns what to wait for, unless there is time in this turn of the event loop
 */
export const timeForMore = (): Promise<void> | undefined => resumed(current.getStore());

const resumed = (work: Work | undefined): Promise<void> | undefined => {
  const waiting = work?.resume?.();
  return work === undefined ? undefined : waiting?.then(() => trail.mark(work.name, undefined, work));
};
