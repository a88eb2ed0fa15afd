import type { StoredEvent } from '#src/services/events/stored-event.ts';
import type { StickyEntry } from '#src/services/rooms/sticky-set.ts';

type Delivered = StickyEntry & { readonly pos: number };

const isDelivered = (entry: StickyEntry): entry is Delivered => entry.pos !== undefined;

/** The unexpired sticky events of a room at one moment, soft-failed ones left out. */
export class StickyView {
  /** The moment, in milliseconds since the epoch. */
  readonly now: number;
  readonly #entries: ReadonlyMap<number, Delivered>;

  constructor(entries: readonly StickyEntry[], now: number) {
    this.now = now;
    this.#entries = new Map(entries.filter(isDelivered).map((entry) => [entry.event.nid, entry]));
  }

  /** For how many more milliseconds an event is sticky; undefined for one that is not. */
  ttl(event: Pick<StoredEvent, 'nid'>): number | undefined {
    const entry = this.#entries.get(event.nid);
    return entry === undefined ? undefined : entry.until - this.now;
  }

  /** The position by which an event is delivered, if it is sticky. It is the event's own, unless the event was hidden for a while. */
  positionOf(event: Pick<StoredEvent, 'nid'>): number | undefined {
    return this.#entries.get(event.nid)?.pos;
  }

  /** Those with `after` < position <= `upTo`, in that order. */
  between(after: number, upTo: number): readonly StoredEvent[] {
    const found = [...this.#entries.values()].filter(({ pos }) => pos > after && pos <= upTo);
    return found.sort((one, other) => one.pos - other.pos).map(({ event }) => event);
  }
}
