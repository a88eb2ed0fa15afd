import type { Logger } from '#src/kernel/logger.ts';

/** One area of the server, composed: the services it offers to others, and what of it runs by itself. */
export interface Slice<Services extends object> {
  /** For log lines. */
  readonly name: string;
  /** The services it offers to the slices above, by name. A name means the same thing in all slices. */
  readonly services: Services;
  /** Starts what runs by itself. Everything below has started. */
  start?(): Promise<void> | void;
  /** Stops accepting anything from outside, and finishes what is under way. All slices do so at once, before the first one closes. */
  drain?(): Promise<void>;
  /** Stops what runs by itself: what was begun is finished, or left to the next process. Everything above has closed. */
  close?(): Promise<void> | void;
  /** Resolves when everything that was begun is done. */
  idle?(): Promise<void>;
  /** There is little to do: frees memory of what can be made again. */
  rest?(): void;
  /** Reloads files that may have changed, such as certificates. */
  reload?(): Promise<void>;
}

type Running = Slice<object>;

/**
 * Slices in the order of areas, each composed from those below it. They start in this order, and close in
 * the reverse one.
 */
export class Composition<Services extends object> {
  /** The services of all slices. */
  readonly services: Services;
  readonly #slices: readonly Running[];

  constructor(services: Services, slices: readonly Running[] = []) {
    this.services = services;
    this.#slices = slices;
  }

  /** Adds a slice on top. */
  add<More extends object>(compose: (below: Services) => Slice<More>): Composition<Services & More> {
    const slice = compose(this.services);
    return new Composition({ ...this.services, ...slice.services }, [...this.#slices, slice]);
  }

  /** Starts everything, from the lowest slice up. @throws the error of the first slice that cannot start */
  async start(): Promise<void> {
    for (const slice of this.#slices) await slice.start?.();
  }

  /** Drains everything, and closes it from the highest slice down. If one fails, the others are closed all the same. */
  async close(logger: Logger): Promise<void> {
    const attempt = async ({ name }: Running, end: () => Promise<void> | void): Promise<void> => {
      try {
        await end();
      } catch (err) {
        logger.error('a slice could not be closed', { part: name, err });
      }
    };
    await Promise.all(this.#slices.map((slice) => attempt(slice, async () => slice.drain?.())));
    for (const slice of this.#slices.toReversed()) await attempt(slice, async () => slice.close?.());
  }

  /**
   * Resolves when everything that was begun is done.
   *
   * @param progress grows with all work: one slice may make work for another, so they are asked until it stays the same
   * @param onWait is told the name of each slice that is waited for
   */
  async idle(progress: () => number, onWait?: (name: string) => void): Promise<void> {
    for (let before = -1; before !== progress();) {
      before = progress();
      for (const slice of this.#slices) {
        onWait?.(slice.name);
        await slice.idle?.();
      }
    }
  }

  /** Has every slice free memory of what can be made again. */
  rest(): void {
    for (const slice of this.#slices) slice.rest?.();
  }

  /** Has every slice reload its files. If one fails, the others reload all the same. @throws the errors of those that failed */
  async reload(): Promise<void> {
    const failures: unknown[] = [];
    for (const slice of this.#slices) await slice.reload?.().catch((error: unknown) => failures.push(error));
    if (failures.length === 1) throw failures[0];
    if (failures.length > 1) throw new AggregateError(failures, failures.map(String).join('\n'));
  }
}
