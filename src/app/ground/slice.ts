import type { Logger } from '#src/kernel/logger.ts';

/** One area of the server, put together: what others call of it, and what of it runs by itself. */
export interface Slice<Services extends object> {
  /** For log lines. */
  readonly name: string;
  /** What slices above call, by name. A name means the same thing in all slices. */
  readonly services: Services;
  /** Begins what runs by itself. Everything below has started. */
  start?(): Promise<void> | void;
  /** Takes nothing more in from outside, and ends what is under way. All slices do so at once, before the first one closes. */
  drain?(): Promise<void>;
  /** Ends what runs by itself: what was begun is finished, or left to the next process. Everything above has closed. */
  close?(): Promise<void> | void;
  /** Resolves when everything that was begun is done. */
  idle?(): Promise<void>;
  /** Reads files again that may have changed, such as certificates. */
  reload?(): Promise<void>;
}

type Running = Slice<object>;

/**
 * Slices in the order of areas, each put together from what lies below it. The order is also that in which they start; they close in
 * the reverse one.
 */
export class Composition<Services extends object> {
  /** What all slices offer. */
  readonly services: Services;
  readonly #slices: readonly Running[];

  constructor(services: Services, slices: readonly Running[] = []) {
    this.services = services;
    this.#slices = slices;
  }

  /** Puts a slice on top. */
  add<More extends object>(compose: (below: Services) => Slice<More>): Composition<Services & More> {
    const slice = compose(this.services);
    return new Composition({ ...this.services, ...slice.services }, [...this.#slices, slice]);
  }

  /** Starts everything, from the lowest slice up. @throws what the first one throws that cannot start */
  async start(): Promise<void> {
    for (const slice of this.#slices) await slice.start?.();
  }

  /** Drains everything, and closes it from the highest slice down. One that fails does not keep the others from it. */
  async close(logger: Logger): Promise<void> {
    const attempt = async ({ name }: Running, end: () => Promise<void> | void): Promise<void> => {
      try {
        await end();
      } catch (err) {
        logger.error('a part of the server could not be closed', { part: name, err });
      }
    };
    await Promise.all(this.#slices.map((slice) => attempt(slice, async () => slice.drain?.())));
    for (const slice of this.#slices.toReversed()) await attempt(slice, async () => slice.close?.());
  }

  /**
   * Resolves when everything that was begun is done.
   *
   * @param progress grows with whatever is done: one slice's work may give another one some, so that they are asked until nothing moves
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

  /** Has every slice read its files again. One that fails does not keep the others from it. @throws what those that failed threw */
  async reload(): Promise<void> {
    const failures: unknown[] = [];
    for (const slice of this.#slices) await slice.reload?.().catch((error: unknown) => failures.push(error));
    if (failures.length === 1) throw failures[0];
    if (failures.length > 1) throw new AggregateError(failures, failures.map(String).join('\n'));
  }
}
