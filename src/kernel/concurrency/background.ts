import { doing, Work } from '#src/kernel/event-loop/work.ts';

/**
 * Background work that is done repeatedly, one run at a time: a call while it runs causes one more
 * run after it.
 */
export class Background {
  readonly #name: string;
  readonly #work: () => Promise<void>;
  readonly #onFailure: (err: unknown) => void;
  #running: Promise<void> | undefined;
  #again = false;
  #isClosed = false;

  /**
   * @param name names the work in logs and metrics
   * @param onFailure is told what a run threw; the next one is not kept from running
   */
  constructor(name: string, work: () => Promise<void>, onFailure: (err: unknown) => void) {
    this.#name = name;
    this.#work = work;
    this.#onFailure = onFailure;
  }

  /** Whether nothing new is begun. For work of many steps. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Runs it now, or once more when it runs already. */
  wake(): void {
    if (this.#isClosed) return;
    this.#again = true;
    this.#running ??= doing(new Work(this.#name), () => this.#run());
  }

  /** Resolves when it does not run. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /** Begins nothing new, and resolves when it does not run. */
  close(): Promise<void> {
    this.#isClosed = true;
    return this.idle();
  }

  async #run(): Promise<void> {
    while (this.#again && !this.#isClosed) {
      this.#again = false;
      try {
        await this.#work();
      } catch (err) {
        this.#onFailure(err);
      }
    }
    this.#running = undefined;
  }
}

/** Pieces of work that run behind the requests, each with a name. None of them rejects. */
export class Ongoing<Name = undefined> {
  readonly #running = new Map<Promise<void>, Name>();

  get size(): number {
    return this.#running.size;
  }

  add(name: Name, work: Promise<void>): void {
    const running = work.finally(() => this.#running.delete(running));
    this.#running.set(running, name);
  }

  /** The names of those that run. */
  names(): Name[] {
    return [...this.#running.values()];
  }

  /** Resolves when one of those that run now is done, or none runs. */
  async next(): Promise<void> {
    if (this.#running.size > 0) await Promise.race(this.#running.keys());
  }

  /** Resolves when those of this name that run now are done. */
  async done(name: Name): Promise<void> {
    await Promise.all([...this.#running].flatMap(([running, its]) => (its === name ? [running] : [])));
  }

  /** Resolves when none runs. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running.keys());
  }
}
