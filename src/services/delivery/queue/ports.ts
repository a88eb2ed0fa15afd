import type { Delivery } from '#src/storage/delivery/deliveries.ts';

/** An item to deliver, and its position in the order of its destination. */
export interface Positioned<Item> {
  readonly position: number;
  readonly item: Item;
}

/** Source from which a queue reads its items. They are not copied into the queue. Positions are greater than 0. */
export interface DeliverySource<Item> {
  /** Items after a position, in ascending order, up to `upTo`. */
  next(destination: string, after: number, limit: number, upTo?: number): Promise<readonly Positioned<Item>[]>;
  /** Destinations that may have pending items, in ascending order after `after`. Called when the queue starts. Empty at the end. */
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
  /** Not attempted; retry after `afterMs`. Does not count as a failure of the destination. */
  | { readonly kind: 'later'; readonly afterMs: number }
  /** The destination answered, and does not accept this batch. */
  | { readonly kind: 'refused' }
  /** The destination no longer exists, or wants no more deliveries. */
  | { readonly kind: 'gone' };

/** What is sent to a destination in one request. */
export interface Batch<Item> {
  /** Stable: a batch that is sent again has the same id and the same items. */
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

/** Milliseconds to wait after so many failures in a row, and at least `wantedMs`. */
export type PauseOf = (failures: number, wantedMs?: number) => number;
