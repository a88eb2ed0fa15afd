import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';

/** A sticky event of a room. */
export interface StickyEntry {
  readonly event: StoredEvent;
  /** The position by which it is delivered; undefined as long as it is soft-failed. */
  readonly pos: number | undefined;
  /** When it expires, in milliseconds since the epoch. */
  readonly until: number;
}

export type DeliveredSticky = StickyEntry & { readonly pos: number };

/** The sticky events of a room that have not expired, as of some moment; nothing of it changes, so that all answers share it. */
export interface StickySnapshot {
  readonly entries: ReadonlyMap<number, StickyEntry>;
  /** Without soft-failed ones, in the order of their positions. */
  readonly delivered: readonly DeliveredSticky[];
  /** When the first of them expires. */
  readonly until: number;
}

/** The sticky events of one room that have not expired. A redacted one is not sticky any more. */
export class StickySet {
  readonly #entries = new Map<number, StickyEntry>();
  #snapshot: StickySnapshot | undefined;

  /** Adds or updates one. */
  add(entry: StickyEntry): void {
    this.#entries.set(entry.event.nid, entry);
    this.#snapshot = undefined;
  }

  /** Adds what was read; what is here already is newer. */
  addOlder(entries: readonly StickyEntry[]): void {
    for (const entry of entries) if (!this.#entries.has(entry.event.nid)) this.add(entry);
  }

  /** What has not expired; the rest is evicted. The same snapshot for all who ask as long as nothing changes, but for redactions. */
  unexpired(now: number): StickySnapshot {
    if (this.#snapshot === undefined || this.#snapshot.until <= now) this.#snapshot = this.#take(now);
    return this.#snapshot;
  }

  #take(now: number): StickySnapshot {
    for (const [nid, { until, event }] of this.#entries)
      if (until <= now || event.stickyDuration === undefined) this.#entries.delete(nid);
    const all = [...this.#entries.values()];
    return {
      entries: new Map(this.#entries),
      delivered: all.filter(isDelivered).toSorted((one, other) => one.pos - other.pos),
      until: all.reduce((first, { until }) => Math.min(first, until), Infinity),
    };
  }

  remove(nids: ReadonlySet<number>): void {
    for (const nid of nids) if (this.#entries.delete(nid)) this.#snapshot = undefined;
  }

  get events(): readonly StoredEvent[] {
    return [...this.#entries.values()].map((entry) => entry.event);
  }

  /** Rough size in memory, in bytes. */
  get size(): number {
    return this.events.reduce((sum, event) => sum + 100 + event.size, 0);
  }
}

const isDelivered = (entry: StickyEntry): entry is DeliveredSticky => entry.pos !== undefined;
