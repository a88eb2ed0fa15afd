import type { Delivery } from '#src/storage/delivery/deliveries.ts';

/** Something to be delivered, and its place in the order of its destination. */
export interface Positioned<Item> {
  readonly position: number;
  readonly item: Item;
}

/** Where what is delivered comes from: it lies somewhere already, and is not copied. Positions are greater than 0. */
export interface DeliverySource<Item> {
  /** What comes after a position, in ascending order; with `upTo`, nothing beyond it. */
  next(destination: string, after: number, limit: number, upTo?: number): Promise<readonly Positioned<Item>[]>;
  /** Destinations for which something may wait, in ascending order from after one; asked when the queue starts. Empty at the end. */
  behind(after: string, limit: number): Promise<readonly string[]>;
}

/** Destinations that share a fate. */
export interface DeliveryGroup {
  readonly name: string;
  /** How many of them are sent to at once at most. */
  readonly most: number;
}

/** What became of a batch. */
export type Outcome =
  /** It arrived. */
  | { readonly kind: 'done' }
  /** It may succeed later; not before `afterMs` milliseconds when the destination said so. */
  | { readonly kind: 'retry'; readonly afterMs?: number }
  /** It was not tried at all, and is not to be before so many milliseconds. No failure of the destination's. */
  | { readonly kind: 'later'; readonly afterMs: number }
  /** The destination is there and does not take it. */
  | { readonly kind: 'refused' }
  /** The destination wants nothing any more. */
  | { readonly kind: 'gone' };

export interface Batch<Item> {
  /** Always the same for the same items: a batch that is sent again has the id of the first time, and holds the same. */
  readonly id: string;
  readonly items: readonly Item[];
}

/** Sends a batch; at most one at a time to each destination. It may come again after a kill, under the same id. */
export type Send<Item> = (destination: string, batch: Batch<Item>, signal: AbortSignal) => Promise<Outcome>;

/** Where it is kept how far the deliveries have come. */
export interface DeliveryProgress {
  read(destination: string): Promise<Delivery | undefined>;
  save(delivery: Delivery): Promise<void>;
  unfinished(after: string, limit: number): Promise<readonly Delivery[]>;
}
