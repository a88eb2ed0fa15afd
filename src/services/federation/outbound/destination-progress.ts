import { AnsweredBatches } from '#src/kernel/concurrency/batches.ts';
import type { DeliveryProgress } from '#src/services/delivery/queue/ports.ts';
import type { Deliveries, Delivery } from '#src/storage/delivery/deliveries.ts';
import { isUnavailable } from '#src/storage/failures.ts';

const BATCH_SIZE = 500;

/**
 * Stores how often in a row servers could not be reached. What waits for them is stored by `PendingRooms`, so that a server that keeps up needs no
 * row; changes of many are written together.
 */
export class DestinationProgress implements DeliveryProgress {
  readonly #deliveries: Deliveries;
  /** Servers that failed last, as they are written. */
  readonly #failing = new Map<string, Delivery>();
  readonly #saving: AnsweredBatches<Delivery, undefined>;
  readonly #forgetting: AnsweredBatches<string, undefined>;

  constructor(deliveries: Deliveries) {
    this.#deliveries = deliveries;
    this.#saving = new AnsweredBatches({
      name: 'federation back-off',
      most: BATCH_SIZE,
      isHopeless: isUnavailable,
      work: async (batch) => {
        await deliveries.saveAll([...new Map(batch.map((delivery) => [delivery.destination, delivery])).values()]);
        return () => undefined;
      },
    });
    this.#forgetting = new AnsweredBatches({
      name: 'federation contact',
      most: BATCH_SIZE,
      isHopeless: isUnavailable,
      work: async (batch) => {
        await deliveries.forgetAll([...new Set(batch)]);
        return () => undefined;
      },
    });
  }

  /** How many servers failed last. */
  get failing(): number {
    return this.#failing.size;
  }

  /** How often in a row a server failed. */
  failuresOf(destination: string): number {
    return this.#failing.get(destination)?.failures ?? 0;
  }

  read(destination: string): Promise<Delivery | undefined> {
    return Promise.resolve(this.#failing.get(destination));
  }

  async save(delivery: Delivery): Promise<void> {
    const { destination, failures, refusals, retryAt } = delivery;
    if (retryAt === null) {
      // A batch that begins is not written: nothing would be done otherwise after a kill.
      if (delivery.batchEnd === null) await this.forget(destination);
      return;
    }
    const known = this.#failing.get(destination);
    if (known?.failures === failures && known.refusals === refusals && known.retryAt === retryAt) return;
    this.#failing.set(destination, delivery);
    await this.#saving.ask({ ...delivery, position: 0, batchEnd: null });
  }

  /** A server was reached, or nothing waits for it any more. */
  async forget(destination: string): Promise<void> {
    if (this.#failing.delete(destination)) await this.#forgetting.ask(destination);
  }

  /** Every server is tried once when the process starts; one that fails again waits as long as before. */
  async unfinished(after: string, limit: number): Promise<readonly Delivery[]> {
    const page = await this.#deliveries.unfinished(after, limit);
    for (const delivery of page) this.#failing.set(delivery.destination, delivery);
    return page.map((delivery) => ({ ...delivery, retryAt: null }));
  }
}
