import type { StoredEvent } from '#src/services/events/stored-event.ts';

/** A sticky event of a room. */
export interface StickyEntry {
  readonly event: StoredEvent;
  /** The position by which it is delivered; undefined as long as it is soft-failed. */
  readonly pos: number | undefined;
  /** When it expires, in milliseconds since the epoch. */
  readonly until: number;
}

/** The sticky events of one room that have not expired. A redacted one is sticky no more. */
export class StickySet {
  readonly #entries = new Map<number, StickyEntry>();

  /** Takes one in, or says anew how it stands with one. */
  add(entry: StickyEntry): void {
    this.#entries.set(entry.event.nid, entry);
  }

  /** Takes in what was read; what is here already is newer. */
  addOlder(entries: readonly StickyEntry[]): void {
    for (const entry of entries) if (!this.#entries.has(entry.event.nid)) this.#entries.set(entry.event.nid, entry);
  }

  /** What has not expired; the rest is let go. */
  unexpired(now: number): readonly StickyEntry[] {
    for (const [nid, { until, event }] of this.#entries)
      if (until <= now || event.stickyDuration === undefined) this.#entries.delete(nid);
    return [...this.#entries.values()];
  }

  remove(nids: ReadonlySet<number>): void {
    for (const nid of this.#entries.keys()) if (nids.has(nid)) this.#entries.delete(nid);
  }

  get events(): readonly StoredEvent[] {
    return [...this.#entries.values()].map((entry) => entry.event);
  }

  /** Rough size in memory, in bytes. */
  get size(): number {
    return this.events.reduce((sum, event) => sum + 100 + event.size, 0);
  }
}
