import type { Timer } from '#src/kernel/timers.ts';
import type { EventsBehindGaps } from './events-behind-gaps.ts';
import type { WaitingEvent } from './inbound-receiving.ts';

/** The waiting events of one room. */
export class RoomLine {
  readonly held: WaitingEvent[] = [];
  /** The database has further events, after `lastSeq`. */
  hasMore = false;
  lastSeq = 0;
  running: Promise<void> | undefined;
  /** By origin. */
  readonly counts = new Map<string, number>();
  /** Events with missing events before them, by origin: each waits for its own origin alone. */
  readonly aside = new Map<string, Aside>();
  /** For each batch being received, the ids that arrive meanwhile: its events may turn out to be missing them. */
  readonly #arriving = new Set<Set<string>>();

  /** Collects the ids of events that arrive, until `unwatch`. */
  watch(): Set<string> {
    const arrived = new Set<string>();
    this.#arriving.add(arrived);
    return arrived;
  }

  came(eventId: string): void {
    for (const arrived of this.#arriving) arrived.add(eventId);
  }

  unwatch(arrived: Set<string>): void {
    this.#arriving.delete(arrived);
  }

  isAside(seq: number): boolean {
    for (const { events } of this.aside.values()) if (events.has(seq)) return true;
    return false;
  }
}

/** The events of one origin with missing events before them. */
export interface Aside {
  readonly events: EventsBehindGaps;
  running: Promise<void> | undefined;
  /** Runs while their origin is unreachable, until it is asked again. */
  timer: Timer | undefined;
  pauseMs: number;
}
