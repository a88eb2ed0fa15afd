import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';

const KEEP = 128;
/** Of events that are large fewer are kept: so many bytes of them, about, but as many events as a client shows at once. */
const KEEP_BYTES = 1024 * 1024;
const KEEP_AT_LEAST = 16;

const bytesOf = (events: readonly StoredEvent[]): number => events.reduce((sum, event) => sum + event.size, 0);

/** The newest events of a room that clients may be shown, in the order in which they came. */
export class EventRing {
  #events: StoredEvent[];
  /** Every event after this position is in the ring. */
  #floor: number;
  #bytes: number;

  /** @param events oldest first */
  constructor(events: StoredEvent[], floor: number) {
    this.#events = events;
    this.#floor = floor;
    this.#bytes = bytesOf(events);
    this.#cut();
  }

  /** Rough size in memory, in bytes. */
  get size(): number {
    return this.#bytes;
  }

  get floor(): number {
    return this.#floor;
  }

  get newest(): StoredEvent | undefined {
    return this.#events.at(-1);
  }

  /** All events of the ring, oldest first. */
  get events(): readonly StoredEvent[] {
    return this.#events;
  }

  /** Removes events that were deleted, or are hidden from now on. */
  remove(nids: ReadonlySet<number>): void {
    this.#events = this.#events.filter((event) => !nids.has(event.nid));
    this.#bytes = bytesOf(this.#events);
  }

  /** Forgets what is at or before a position: there are other events by now, and readers read them. */
  readAgain(upTo: number): void {
    this.#events = this.#events.filter((event) => event.nid > upTo);
    this.#bytes = bytesOf(this.#events);
    this.#floor = Math.max(this.#floor, upTo);
  }

  push(event: StoredEvent): void {
    this.#events.push(event);
    this.#bytes += event.size;
    // Cut in one go now and then: shifting one off the front at every event would move all the others each time.
    if (this.#events.length >= 2 * KEEP || this.#bytes >= 2 * KEEP_BYTES) this.#cut();
  }

  #cut(): void {
    const events = this.#events;
    let first = Math.max(0, events.length - KEEP);
    let bytes = bytesOf(events.slice(first));
    for (; bytes > KEEP_BYTES && events.length - first > KEEP_AT_LEAST; first += 1) bytes -= events[first]?.size ?? 0;
    this.#bytes = bytes;
    if (first === 0) return;
    const dropped = events.splice(0, first);
    this.#floor = Math.max(this.#floor, dropped.at(-1)?.nid ?? 0);
  }

  /** Puts an event that was hidden until now in its place. Before the floor it is read from the database as all others there. */
  insert(event: StoredEvent): void {
    if (event.nid <= this.#floor || this.#events.some((one) => one.nid === event.nid)) return;
    const index = this.#events.findIndex((one) => one.nid > event.nid);
    this.#events.splice(index < 0 ? this.#events.length : index, 0, event);
    this.#bytes += event.size;
  }

  /**
   * Takes older events in front, as they were read from the database: everything between the first of them and the ring.
   *
   * @param older oldest first
   * @param floor every event after this position is in the ring then
   */
  extend(older: readonly StoredEvent[], floor: number): void {
    if (floor >= this.#floor || this.#events.length + older.length > KEEP) return;
    const bytes = this.#bytes + bytesOf(older);
    if (bytes > KEEP_BYTES) return;
    this.#bytes = bytes;
    this.#events = [...older, ...this.#events];
    this.#floor = floor;
  }

  /** The events with `after` < position <= `upTo`, oldest first; undefined when the ring does not reach back that far. */
  between(after: number, upTo: number): StoredEvent[] | undefined {
    if (after < this.#floor) return undefined;
    let start = this.#events.length;
    while (start > 0 && (this.#events[start - 1]?.nid ?? 0) > after) start--;
    let end = this.#events.length;
    while (end > start && (this.#events[end - 1]?.nid ?? 0) > upTo) end--;
    return this.#events.slice(start, end);
  }

  /** The newest `limit` events at or before `upTo`, oldest first; undefined when the ring does not reach back that far. */
  newestUpTo(upTo: number, limit: number): StoredEvent[] | undefined {
    let end = this.#events.length;
    while (end > 0 && (this.#events[end - 1]?.nid ?? 0) > upTo) end--;
    if (end < limit && this.#floor > 0) return undefined;
    return this.#events.slice(Math.max(0, end - limit), end);
  }
}
