import { SerialByKey } from '#src/kernel/concurrency/serial.ts';

/** A lock for each delayed event: one request at a time works on it. */
export class DelayedEventLocks {
  readonly #turns = new SerialByKey<string>();
  /** Delayed event -> requests that work on it or wait for their turn. */
  readonly #busy = new Map<string, number>();
  #touched: Set<string> | undefined;

  async take<T>(delayId: string, work: () => Promise<T>): Promise<T> {
    this.#busy.set(delayId, (this.#busy.get(delayId) ?? 0) + 1);
    try {
      return await this.#turns.run(delayId, work);
    } finally {
      const left = (this.#busy.get(delayId) ?? 1) - 1;
      if (left > 0) this.#busy.set(delayId, left);
      else this.#busy.delete(delayId);
      this.#touched?.add(delayId);
    }
  }

  /**
   * Reads delayed events, and leaves out those on which another request works or worked meanwhile: what was read of them may be over.
   * One at a time; the result has to be used in the same turn of the event loop.
   */
  async untouched<T extends { readonly delay_id: string }>(read: () => Promise<readonly T[]>): Promise<readonly T[]> {
    const touched = new Set<string>();
    this.#touched = touched;
    try {
      const found = await read();
      return found.filter(({ delay_id: id }) => !touched.has(id) && !this.#busy.has(id));
    } finally {
      this.#touched = undefined;
    }
  }
}
