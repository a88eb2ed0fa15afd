import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Counter, Metrics } from '#src/kernel/metrics.ts';
import type { Delivery } from '#src/storage/delivery/deliveries.ts';
import type { DeliveryGroups } from './delivery-groups.ts';
import type { DeliveryProgress, DeliverySource, Outcome, PauseOf, Positioned, Send } from './ports.ts';

/** How often in a row a batch may be refused before it is halved, and each half of it. */
const REFUSALS = 3;

export interface BatchDeliveryOptions<Item> {
  /** Name in logs, metrics and the table of progress. */
  readonly name: string;
  readonly progress: DeliveryProgress;
  readonly source: DeliverySource<Item>;
  readonly send: Send<Item>;
  readonly groups: DeliveryGroups;
  readonly pauseOf: PauseOf;
  /** Items in one batch at most. */
  readonly batchSize: number;
  /** Aborts what is being sent. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Next step for a destination; a number: the time of the next attempt. */
export type Next = 'more' | 'gather' | 'nothing' | number;

/** What is known of a destination that is sent to. */
interface Recipient {
  readonly group: string;
  /** It contacted this server since its turn began. */
  readonly wasInContact: boolean;
  /** How far it is; undefined until that was read. */
  delivery: Delivery | undefined;
}

/**
 * The life of one batch: it is read from the source, noted as begun, sent, and its outcome stored. A batch that is always refused is halved
 * until the item is found that is to blame, which is given up.
 */
export class BatchDelivery<Item> {
  readonly #options: BatchDeliveryOptions<Item>;
  readonly #batches: Counter;
  readonly #givenUp: Counter;

  constructor(options: BatchDeliveryOptions<Item>) {
    this.#options = options;
    const { metrics } = options;
    this.#batches = metrics.counter('tsudoi_delivery_batches_total', 'batches that were sent', ['queue', 'outcome']);
    this.#givenUp = metrics.counter('tsudoi_delivery_given_up_total', 'items that a destination always refused', [
      'queue',
    ]);
  }

  /**
   * Sends a destination its next batch, if there is one, and stores how that went.
   *
   * @returns whether more may follow, at once or once it was gathered, or when to try again
   */
  async deliver(destination: string, to: Recipient): Promise<Next> {
    const { batchSize, progress, source } = this.#options;
    const known = (to.delivery ??= (await progress.read(destination)) ?? fresh(destination));
    if (known.isGone) return 'nothing';
    const items = await source.next(destination, known.position, batchSize, known.batchEnd ?? undefined);
    const [first] = items;
    const last = items.at(-1);
    if (first === undefined || last === undefined) {
      if (known.batchEnd === null) return 'nothing';
      // The items of the batch were deleted.
      await this.#save(to, { ...known, ...AT_REST, position: known.batchEnd });
      return 'more';
    }
    // Nothing before the first item is for this destination: it need not be read again.
    const begun = { ...known, position: Math.max(known.position, first.position - 1), batchEnd: last.position };
    if (known.batchEnd !== last.position) await this.#save(to, begun);
    const outcome = await this.#send(destination, begun.position, items);
    // Aborted by this process: the next one sends the same batch again.
    if ((outcome.kind === 'retry' || outcome.kind === 'later') && this.#options.signal.aborted) return 'nothing';
    this.#batches.inc({ queue: this.#options.name, outcome: outcome.kind });
    const isAway = outcome.kind === 'retry' && outcome.isOfGroup === true;
    // A result other than 'group unreachable' or 'not attempted' ends the pause of the group.
    if (!isAway && outcome.kind !== 'later') this.#options.groups.resume(to.group);
    return this.#settle(to, begun, items, outcome);
  }

  async #send(destination: string, after: number, items: readonly Positioned<Item>[]): Promise<Outcome> {
    const { logger, name, send } = this.#options;
    const id = `${after}-${items.at(-1)?.position}`;
    try {
      return await send(destination, { id, items: items.map(({ item }) => item) }, this.#options.signal);
    } catch (err) {
      if (this.#options.signal.aborted) return { kind: 'retry' };
      logger.error('sending a batch threw; it counts as refused', { queue: name, destination, batch: id, err });
      return { kind: 'refused' };
    }
  }

  async #settle(
    to: Recipient,
    sent: Delivery & { readonly batchEnd: number },
    items: readonly Positioned<Item>[],
    outcome: Outcome,
  ): Promise<Next> {
    const { clock, groups, logger, name, pauseOf } = this.#options;
    const failures = (to.wasInContact ? 0 : sent.failures) + 1;
    switch (outcome.kind) {
      case 'done':
        await this.#save(to, { ...sent, ...AT_REST, position: sent.batchEnd });
        return outcome.hasMore === true ? 'more' : 'gather';
      case 'gone':
        await this.#save(to, { ...sent, ...AT_REST, isGone: true });
        return 'nothing';
      case 'retry': {
        const ofGroup = outcome.isOfGroup === true ? groups.pause(to.group) : 0;
        const retryAt = Math.max(ofGroup, clock.now() + pauseOf(failures, outcome.afterMs));
        await this.#save(to, { ...sent, failures, retryAt });
        return retryAt;
      }
      case 'later':
        return clock.now() + Math.max(outcome.afterMs, 1);
      case 'refused': {
        const refusals = sent.refusals + 1;
        const half = items[Math.ceil(items.length / 2) - 1]?.position ?? sent.batchEnd;
        if (refusals >= REFUSALS && items.length === 1) {
          this.#givenUp.inc({ queue: name });
          logger.error('an item was refused repeatedly by its destination and is given up', {
            queue: name,
            destination: sent.destination,
            position: sent.batchEnd,
          });
          await this.#save(to, { ...sent, ...AT_REST, position: sent.batchEnd });
          return 'more';
        }
        const retryAt = clock.now() + pauseOf(Math.min(refusals, REFUSALS));
        const batchEnd = refusals >= REFUSALS ? half : sent.batchEnd;
        await this.#save(to, { ...sent, batchEnd, failures: 0, refusals: refusals % REFUSALS, retryAt });
        return retryAt;
      }
    }
  }

  async #save(to: Recipient, delivery: Delivery): Promise<void> {
    await this.#options.progress.save(delivery);
    to.delivery = delivery;
  }
}

/** Progress of a destination with no batch in flight. */
const AT_REST = { batchEnd: null, failures: 0, refusals: 0, retryAt: null } as const;

/** Progress of a destination that was never sent anything. */
export const fresh = (destination: string): Delivery => ({ destination, position: 0, ...AT_REST, isGone: false });
