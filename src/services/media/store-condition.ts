import type { BlobFailureKind } from '#src/blobs/blob-store.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { Background } from '#src/kernel/concurrency/background.ts';

/** Milliseconds between two attempts to write to a store that failed. */
const LOOK_MS = 10_000;

/**
 * Whether files can be stored, as far as this process knows: a failure counts until something was written again. While nobody stores any, a probe
 * causes a trial that it does not wait for, and is answered from memory: a store that does not answer must not hold it up.
 */
export class StoreCondition {
  readonly #clock: Clock;
  readonly #looking: Background;
  #failure: BlobFailureKind | undefined;
  #nextLook = -Infinity;

  /**
   * @param name names the store in logs and metrics
   * @param look writes something, and says by `works` and `fails` what came of it
   */
  constructor(clock: Clock, name: string, look: () => Promise<void>) {
    this.#clock = clock;
    // What keeps it from being found out is the database, which has a health of its own.
    this.#looking = new Background(`${name}.look-after-store`, look, () => undefined);
  }

  works(): void {
    this.#failure = undefined;
  }

  fails(kind: BlobFailureKind): void {
    if (this.#failure === undefined) this.#nextLook = this.#clock.monotonic() + LOOK_MS;
    this.#failure = kind;
  }

  /** Why files cannot be stored; undefined while they can. */
  failure(): BlobFailureKind | undefined {
    const now = this.#clock.monotonic();
    if (this.#failure !== undefined && now >= this.#nextLook) {
      this.#nextLook = now + LOOK_MS;
      this.#looking.wake();
    }
    return this.#failure;
  }

  /** Resolves when nothing is looked after. */
  idle(): Promise<void> {
    return this.#looking.idle();
  }

  close(): Promise<void> {
    return this.#looking.close();
  }
}
