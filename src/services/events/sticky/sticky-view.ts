import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StickyEntry, StickySnapshot } from '#src/services/room-model/room/sticky-set.ts';

/** The unexpired sticky events of a room at one moment, soft-failed ones and redacted ones left out. Costs what is asked of it. */
export class StickyView {
  /** The moment, in milliseconds since the epoch. */
  readonly now: number;
  readonly #snapshot: StickySnapshot;

  constructor(snapshot: StickySnapshot, now: number) {
    this.now = now;
    this.#snapshot = snapshot;
  }

  /** For how many more milliseconds an event is sticky; undefined for one that is not. */
  ttl(event: Pick<StoredEvent, 'nid'>): number | undefined {
    const entry = this.#delivered(event);
    return entry === undefined ? undefined : entry.until - this.now;
  }

  /** The position by which an event is delivered, if it is sticky. It is the event's own, unless the event was hidden for a while. */
  positionOf(event: Pick<StoredEvent, 'nid'>): number | undefined {
    return this.#delivered(event)?.pos;
  }

  /** Those with `after` < position <= `upTo`, in that order. */
  between(after: number, upTo: number): readonly StoredEvent[] {
    const found: StoredEvent[] = [];
    // Most answers are for clients that know all but the last.
    const { delivered } = this.#snapshot;
    for (let index = delivered.length - 1; index >= 0; index--) {
      const entry = delivered[index];
      if (entry === undefined || entry.pos <= after) break;
      if (entry.pos <= upTo && isSticky(entry)) found.push(entry.event);
    }
    return found.reverse();
  }

  #delivered({ nid }: Pick<StoredEvent, 'nid'>): StickyEntry | undefined {
    const entry = this.#snapshot.entries.get(nid);
    return entry?.pos === undefined || !isSticky(entry) ? undefined : entry;
  }
}

/** A redacted event is not sticky any more. */
const isSticky = ({ event }: StickyEntry): boolean => event.stickyDuration !== undefined;

/** Sticky events that have not expired. MSC4354. */
export interface StickySource {
  /** Whether a room may have any, by what is in memory. */
  mayHaveAny(room: Room): boolean;
  /** Those of several rooms as of now, in one statement at most; rooms without any are left out. */
  forRooms(rooms: readonly Room[]): Promise<ReadonlyMap<number, StickyView>>;
}
