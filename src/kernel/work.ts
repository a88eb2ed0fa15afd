import { AsyncLocalStorage } from 'node:async_hooks';

/** Milliseconds of a core that things take, roughly; what they are measured by is cheap to count. */
const PER_STATEMENT = 0.1;
const PER_ROW = 0.01;
const PER_JSON_VALUE = 1 / 10_000;
const PER_BYTE_IN = 1 / (64 * 1024);
const PER_BYTE_OUT = 1 / (32 * 1024);
const PER_KIB_HASHED = 1 / 1_600;

/** A unit of work: a request, a frame, a job. Counts what it asks for, to know what it costs. */
export class Work {
  /** Names it in logs and metrics: one of few. */
  readonly name: string;
  /** SQL statements, and the rows that they returned. */
  statements = 0;
  rows = 0;
  /** Bytes of the body, and values in its JSON. */
  bytesIn = 0;
  jsonValues = 0;
  /** Bytes of the answer. */
  bytesOut = 0;
  /** KiB of memory that hashes of passwords went over. */
  kibHashed = 0;
  /** Waits until there is time on the event loop for what comes after an answer of the database; where nobody set it, there always is. */
  resume: (() => Promise<void> | undefined) | undefined;
  /** The party it is done for: a user, a server or a network; undefined for none in particular. */
  party: (() => string) | undefined;

  constructor(name: string) {
    this.name = name;
  }

  /** Milliseconds of a core that it has taken, roughly, but for hashes of passwords. */
  get cost(): number {
    return (
      this.statements * PER_STATEMENT +
      this.rows * PER_ROW +
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

/** What ran recently on the event loop, and since when: as much as is needed to find out what held it up. */
export class Trail {
  readonly #names: string[] = Array.from({ length: LENGTH }, () => '');
  readonly #times = new Float64Array(LENGTH);
  #at = 0;
  /** Those that rest until something runs. */
  #resting: (() => void)[] = [];

  /** Notes that something runs from now on. */
  mark(name: string, now = performance.now()): void {
    this.#at = (this.#at + 1) % LENGTH;
    this.#names[this.#at] = name;
    this.#times[this.#at] = now;
    if (this.#resting.length === 0) return;
    const woken = this.#resting;
    this.#resting = [];
    for (const wake of woken) wake();
  }

  /** When something began to run of late, in monotonic milliseconds. */
  get latest(): number {
    return this.#times[this.#at] as number;
  }

  /** Calls `wake` once, when the next thing runs. */
  rest(wake: () => void): void {
    this.#resting.push(wake);
  }

  /** What ran longest without a break between two times, in monotonic milliseconds; undefined where nothing is known. */
  longest(from: number, to: number): { readonly name: string; readonly ms: number } | undefined {
    let longest: { name: string; ms: number } | undefined;
    let end = to;
    for (let back = 0; back < LENGTH; back += 1) {
      const index = (this.#at - back + LENGTH) % LENGTH;
      const name = this.#names[index] as string;
      const began = this.#times[index] as number;
      if (name === '') break;
      const ms = end - Math.max(began, from);
      if (ms > (longest?.ms ?? 0)) longest = { name, ms };
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
  trail.mark(work.name);
  return current.run(work, run);
};

/** What is being done; undefined where nobody said it. */
export const currentWork = (): Work | undefined => current.getStore();

/** Counts an answer of the database for what is being done, which resumes now. @returns the work, if it has a name */
export const countAnswer = (rows: number): Work | undefined => {
  const work = current.getStore();
  trail.mark(work?.name ?? 'unnamed');
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
  return work === undefined ? undefined : waiting?.then(() => trail.mark(work.name));
};
