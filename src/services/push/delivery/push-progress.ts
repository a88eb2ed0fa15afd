import { AnsweredBatches } from '#src/kernel/concurrency/batches.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { DeliveryProgress } from '#src/services/delivery/queue/ports.ts';
import type { PusherRegistry } from '#src/services/push/pushers/pusher-registry.ts';
import type { Deliveries, Delivery } from '#src/storage/delivery/deliveries.ts';
import type { PendingPushes } from './pending-pushes.ts';
import { isUnavailable } from '#src/storage/failures.ts';

const BATCH_SIZE = 500;

export interface PushProgressOptions {
  readonly deliveries: Deliveries;
  readonly registry: PusherRegistry;
  readonly pending: Pick<PendingPushes, 'isBehind' | 'fallBehind' | 'forget'>;
  readonly clock: Clock;
}

/** Stores the progress of each pusher. That of pushers which are sent to at the same time is read and written in one statement. */
export class PushProgress implements DeliveryProgress {
  readonly #options: PushProgressOptions;
  readonly #reads: AnsweredBatches<string, Delivery | undefined>;
  readonly #saves: AnsweredBatches<Delivery, void>;

  constructor(options: PushProgressOptions) {
    this.#options = options;
    const { deliveries } = options;
    this.#reads = new AnsweredBatches<string, Delivery | undefined>({
      name: 'push progress',
      most: BATCH_SIZE,
      isHopeless: isUnavailable,
      async work(destinations) {
        const found = await deliveries.readAll([...new Set(destinations)]);
        const byName = new Map(found.map((delivery) => [delivery.destination, delivery]));
        return (destination) => byName.get(destination);
      },
    });
    this.#saves = new AnsweredBatches<Delivery, void>({
      name: 'push progress',
      most: BATCH_SIZE,
      isHopeless: isUnavailable,
      async work(changed) {
        // The last one of each destination counts.
        await deliveries.saveAll([...new Map(changed.map((one) => [one.destination, one])).values()]);
        return () => undefined;
      },
    });
  }

  read(destination: string): Promise<Delivery | undefined> {
    return this.#reads.ask(destination);
  }

  async save(delivery: Delivery): Promise<void> {
    const { clock, deliveries, pending, registry } = this.#options;
    const { destination, position, batchEnd, retryAt } = delivery;
    if (delivery.isGone || registry.byDestination(destination) === undefined) {
      await deliveries.forgetAll([destination]);
      pending.forget(destination);
      return;
    }
    // Pushes that wait in the database alone must be found there by the next process, whenever this one ends.
    const rests = batchEnd === null && retryAt === null;
    await this.#saves.ask(rests && pending.isBehind(destination) ? { ...delivery, retryAt: clock.now() } : delivery);
    if (retryAt !== null) pending.fallBehind(destination, position);
  }

  /** Notes that nothing waits for a pusher any more. */
  rest(destination: string, position: number): Promise<void> {
    const rest = { batchEnd: null, failures: 0, refusals: 0, retryAt: null, isGone: false };
    return this.#saves.ask({ destination, position, ...rest });
  }

  /** Pushers that wait or were interrupted: their pushes are read from the database. */
  async unfinished(after: string, limit: number): Promise<readonly Delivery[]> {
    const found = await this.#options.deliveries.unfinished(after, limit);
    for (const { destination, position } of found) this.#options.pending.fallBehind(destination, position);
    return found;
  }
}
