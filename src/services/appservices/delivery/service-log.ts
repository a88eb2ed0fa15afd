import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { type AppserviceDelivery, readAppserviceLog } from '#src/storage/appservices/deliveries.ts';
import type { Database } from '#src/storage/database.ts';

/** An event in a service's log. */
export interface Logged {
  /** Counted from 1. */
  readonly place: number;
  readonly room: number;
  readonly nid: number;
  /** While it is new, and little waits. */
  readonly known: StoredEvent | undefined;
}

/** Events of each service that are held in memory. More are read when their turn comes. */
export const MAX_HELD = 1_000;
/** Bytes of memory for them; of more only where they are. */
export const MAX_HELD_BYTES = 4_194_304;
/** Rows of the log that are read at once. */
const ROWS = 2;

/** The log of one application service: how far it was sent, and its newest events. */
export class ServiceLog {
  delivery: AppserviceDelivery;
  /** Place of the newest event. */
  #end: number;
  /** The newest events without a gap; none when there are more than are held. */
  #newest: Logged[] = [];
  /** What came before is dropped. */
  #floor = 0;
  /** What was read of the log, in order. */
  #read: Logged[] = [];

  constructor(delivery: AppserviceDelivery, end: number) {
    this.delivery = delivery;
    this.#end = Math.max(end, delivery.done, delivery.sending ?? 0);
  }

  get end(): number {
    return this.#end;
  }

  /** Events that have not arrived. */
  get waiting(): number {
    return this.#end - this.first;
  }

  /** The place behind which what waits begins. */
  get first(): number {
    return Math.max(this.delivery.done, this.#floor);
  }

  /** Takes in what was appended to it. */
  append(events: readonly Omit<Logged, 'place'>[]): void {
    let bytes = this.#newest.reduce((sum, { known }) => sum + (known?.size ?? 0), 0);
    for (const event of events) {
      this.#end += 1;
      bytes += event.known?.size ?? 0;
      this.#newest.push({ ...event, known: bytes > MAX_HELD_BYTES ? undefined : event.known, place: this.#end });
    }
    // A service that is that far behind is sent what is read from the database.
    if (this.#newest.length > MAX_HELD) this.#newest = [];
  }

  /** The events after a place, in order: so many at most, and none after `upTo`. */
  async after(database: Database, place: number, limit: number, upTo = this.#end): Promise<readonly Logged[]> {
    const wanted = Math.min(upTo, place + limit);
    if (wanted <= place) return [];
    const [first] = this.#newest;
    if (first !== undefined && first.place <= place + 1) {
      while ((this.#newest[0]?.place ?? Infinity) <= this.delivery.done) this.#newest.shift();
      return this.#newest.filter((event) => event.place > place && event.place <= wanted);
    }
    const holds = (this.#read[0]?.place ?? Infinity) <= place + 1 && (this.#read.at(-1)?.place ?? 0) >= wanted;
    if (!holds) this.#read = await this.#load(database, place, wanted);
    const found = this.#read.filter((event) => event.place > place && event.place <= wanted);
    // What is missing in between was dropped.
    return found.length > 0 ? found : this.#read.filter((event) => event.place <= upTo).slice(0, limit);
  }

  /** Drops everything before a place. @returns how many events that are */
  dropUpTo(place: number): number {
    const before = Math.max(this.delivery.done, this.#floor);
    this.#floor = Math.max(this.#floor, place);
    this.#newest = this.#newest.filter((event) => event.place > place);
    this.#read = [];
    return Math.max(0, place - before);
  }

  /** It turned out that it ends there. */
  endsAt(place: number): void {
    if (place === this.#end) return;
    this.#end = Math.max(this.#end, place);
    this.#newest = [];
  }

  async #load(database: Database, place: number, wanted: number): Promise<Logged[]> {
    const found: Logged[] = [];
    for (let after = place; after < wanted;) {
      const rows = await readAppserviceLog(database, this.delivery.service, after, ROWS);
      for (const { events, last, rooms } of rows)
        for (const [index, nid] of events.entries()) {
          const at = last - events.length + 1 + index;
          if (at > place) found.push({ place: at, room: rooms[index] ?? 0, nid, known: undefined });
        }
      const end = rows.at(-1)?.last;
      if (end === undefined) break;
      after = end;
    }
    return found;
  }
}
