import type { Delivery } from '#src/storage/delivery/deliveries.ts';

/** Something to be delivered, and its place in the order of its destination. */
export interface Positioned<Item> {
  readonly position: number;
  readonly item: Item;
}

/** Where a queue reads what it delivers. It is stored there already, and not copied into the queue. Positions are greater than 0. */
export interface DeliverySource<Item> {
  /** What comes after a position, in ascending order; with `upTo`, nothing beyond it. */
  next(destination: string, after: number, limit: number, upTo?: number): Promise<readonly Positioned<Item>[]>;
  /** Destinations for which something may wait, in ascending order from after one; asked when the queue starts. Empty at the end. */
  behind(after: string, limit: number): Promise<readonly string[]>;
}

/** Destinations that share a limit on how many of them are sent to at once: the pushers of one push gateway. */
export interface DeliveryGroup {
  readonly name: string;
  /** How many of them are sent to at once at most. */
  readonly most: number;
}

/** What the destination answered to a batch. */
export type Outcome =
  /** It arrived. `hasMore`: more is known to wait for the destination already, and nothing is gathered first. */
  | { readonly kind: 'done'; readonly hasMore?: boolean }
  /**
   * It may succeed later; not before `afterMs` milliseconds when the destination said so. `isOfGroup`: nothing gets through to any
   * destination of its group.
   */
  | { readonly kind: 'retry'; readonly afterMs?: number; readonly isOfGroup?: boolean }
  /** It was not tried at all, and is not to be before so many milliseconds. No failure of the destination's. */
  | { readonly kind: 'later'; readonly afterMs: number }
  /** The destination answered, and does not accept this batch. */
  | { readonly kind: 'refused' }
  /** The destination wants nothing any more. */
  | { readonly kind: 'gone' };

/** What is sent to a destination in one request. */
export interface Batch<Item> {
  /** Always the same for the same items: a batch that is sent again has the id of the first time, and holds the same. */
  readonly id: string;
  readonly items: readonly Item[];
}

/** Sends a batch; at most one at a time to each destination. It may come again after a kill, under the same id. */
export type Send<Item> = (destination: string, batch: Batch<Item>, signal: AbortSignal) => Promise<Outcome>;

/** Stores up to which position each destination has received everything. */
export interface DeliveryProgress {
  read(destination: string): Promise<Delivery | undefined>;
  save(delivery: Delivery): Promise<void>;
  unfinished(after: string, limit: number): Promise<readonly Delivery[]>;
}
