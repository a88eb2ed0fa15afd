import type { Clock } from '#src/kernel/clock.ts';

/** npm and a terminal both pass on the same signal: one that comes sooner than this after the last counted one is the same request. */
const APART_MS = 1_000;
const HURRY_AT = 3;

/** The requests to stop a process: to stop, or to stop without waiting for clients. */
export class StopRequests {
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  readonly #hurry = new AbortController();
  #code: 0 | 1 = 0;
  #counted = 0;
  #last = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Aborted by the first request or failure: the server goes down in order. */
  get stop(): AbortSignal {
    return this.#stop.signal;
  }

  /** Aborted by the third request, each a second after the one before: requests and writers are not waited for any more. */
  get hurry(): AbortSignal {
    return this.#hurry.signal;
  }

  /** The process's exit code: 1 after a failure. */
  get code(): 0 | 1 {
    return this.#code;
  }

  /** A signal requests the stop. However often it comes, the stop proceeds. */
  ask(): void {
    const now = this.#clock.monotonic();
    if (now - this.#last < APART_MS) return;
    this.#last = now;
    this.#counted += 1;
    this.#stop.abort();
    if (this.#counted === HURRY_AT) this.#hurry.abort();
  }

  /** An error requests the stop. Further errors do not hurry it. */
  fail(): void {
    this.#code = 1;
    this.#stop.abort();
  }
}
