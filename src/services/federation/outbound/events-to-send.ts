import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { StickySource } from '#src/services/events/sticky/sticky-view.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import { isOfDatabase } from '#src/storage/failures.ts';
import type { EventRecord } from '#src/storage/room-model/event-reads.ts';
import { type EventSpan, eventsToSend, newestEventToSend } from '#src/storage/federation/destination-rooms.ts';
import { eventToSend, type EventToSend, OwnEventPages } from './own-event-pages.ts';
import { isOurs } from './own-events.ts';
import type { PendingRoom, PendingRooms } from './pending-rooms.ts';

/** Rooms that are looked through at once. */
const ROOMS_AT_ONCE = 100;

/** What one transaction may have of events. */
export interface EventsWanted {
  readonly limit: number;
  /** About so many, but one event in any case. */
  readonly characters: number;
  /**
   * The server was away for long: of rooms with more events than one transaction holds it is sent the newest one, and asks for what it
   * misses.
   */
  readonly latestOnly: boolean;
}

/** Events on their way to a server. */
export interface EventsOnTheirWay {
  /** Each in Canonical JSON. */
  readonly pdus: readonly string[];
  /** Which ones they are. */
  readonly identity: readonly string[];
  /** They have arrived, or are given up. */
  readonly delivered: () => void;
}

export const NO_EVENTS: EventsOnTheirWay = { pdus: [], identity: [], delivered: () => {} };

/** What one transaction has of a room. */
interface SentPart {
  readonly place: PendingRoom;
  /** Up to where it has the room's events. */
  readonly upTo: number;
  /** The same of those that were sticky when the server came; undefined when there are no others. */
  readonly stickyUpTo: number | undefined;
}

export interface EventsToSendOptions {
  readonly database: Database;
  readonly rooms: Pick<RoomRegistry, 'byNid' | 'peek'>;
  readonly pending: PendingRooms;
  readonly sticky: StickySource;
  readonly isLocal: (userId: string) => boolean;
  readonly clock: Clock;
}

/** Reads the events that wait for a server: from memory for rooms in use, and from the database for others. */
export class EventsToSend {
  readonly #options: EventsToSendOptions;
  readonly #pages: OwnEventPages;

  constructor(options: EventsToSendOptions) {
    this.#options = options;
    this.#pages = new OwnEventPages(options.database, options.clock);
  }

  /**
   * The next events for a server, those of a room in order.
   */
  async take(destination: string, { limit, characters: most, latestOnly }: EventsWanted): Promise<EventsOnTheirWay> {
    const { pending } = this.#options;
    const found: EventToSend[] = [];
    const sent: SentPart[] = [];
    let characters = 0;
    for (let places = firstRoomsOf(pending.of(destination)); limit > 0 && places.length > 0 && found.length === 0;) {
      for (const place of places) {
        if (found.length >= limit || characters >= most) break;
        const sticky = await this.#sticky(place, limit - found.length, most - characters);
        for (const event of sticky.events) characters += event.json.length;
        found.push(...sticky.events);
        const isFull = sticky.upTo !== undefined || found.length >= limit || characters >= most;
        const { events, upTo } = isFull
          ? { events: [], upTo: place.span.after }
          : await this.#read(destination, place, {
              limit: limit - found.length,
              characters: most - characters,
              latestOnly,
              most: limit,
            });
        for (const event of events) characters += event.json.length;
        found.push(...events);
        const part = { place, upTo, stickyUpTo: sticky.upTo };
        // Where nothing is for this server, nothing has to arrive.
        if (sticky.events.length + events.length === 0) this.#advance(destination, part);
        else sent.push(part);
      }
      if (found.length === 0) places = firstRoomsOf(pending.of(destination));
    }
    return onTheirWay(found, () => {
      for (const part of sent) this.#advance(destination, part);
    });
  }

  /**
   * The first event for a server that can be read. Those before it are given up, and those that are sticky in its room where one of them is
   * that.
   *
   * @param givenUp is told why
   * @throws what the database throws when the fault is its own
   */
  async takeFirst(destination: string, givenUp: (err: unknown) => void): Promise<EventsOnTheirWay> {
    const { database, pending } = this.#options;
    for (;;) {
      const [place] = pending.of(destination);
      if (place === undefined) return NO_EVENTS;
      const { room, span } = place;
      if (span.stickyAfter !== undefined) {
        const sticky = await this.#firstSticky(destination, place, givenUp);
        if (sticky !== undefined) return sticky;
        continue;
      }
      const [record] = await eventsToSend(database, { room, after: span.after, upTo: span.newest }, 1);
      const upTo = record?.nid ?? span.newest;
      const event = record === undefined ? undefined : readable(record, givenUp);
      if (event !== undefined && notOf(destination, [event]).length > 0)
        return onTheirWay([event], () => pending.advance(destination, room, span, upTo));
      pending.advance(destination, room, span, upTo);
    }
  }

  async #firstSticky(
    destination: string,
    place: PendingRoom,
    givenUp: (err: unknown) => void,
  ): Promise<EventsOnTheirWay | undefined> {
    const { room, span } = place;
    const advance = (upTo: number | undefined): void =>
      this.#options.pending.advanceSticky(destination, room, span, upTo);
    try {
      const { events, upTo } = await this.#sticky(place, 1, 1);
      if (events.length > 0) return onTheirWay(events, () => advance(upTo));
    } catch (err) {
      if (isOfDatabase(err)) throw err;
      givenUp(err);
    }
    advance(undefined);
    return undefined;
  }

  #advance(destination: string, { place: { room, span }, stickyUpTo, upTo }: SentPart): void {
    const { pending } = this.#options;
    pending.advanceSticky(destination, room, span, stickyUpTo);
    if (stickyUpTo === undefined) pending.advance(destination, room, span, upTo);
  }

  /**
   * What is sticky in a room that the server has just come into. MSC4354: "When a new server joins the room, existing servers MUST attempt
   * delivery of all of their own sticky events".
   *
   * @returns events, and up to where these are all; undefined where no others are left
   */
  async #sticky(
    { room: nid, span: { after, stickyAfter } }: PendingRoom,
    limit: number,
    characters: number,
  ): Promise<{ readonly events: readonly EventToSend[]; readonly upTo: number | undefined }> {
    const { isLocal, rooms, sticky } = this.#options;
    const room = stickyAfter === undefined ? undefined : await rooms.byNid(nid);
    const view = room === undefined ? undefined : (await sticky.forRooms([room])).get(nid);
    const own = view?.between(stickyAfter ?? 0, after).filter(({ sender }) => isLocal(sender)) ?? [];
    const first = firstOf(own, limit, characters);
    const last = first.at(-1);
    return {
      events: first.map(ofEvent),
      upTo: first.length === own.length || last === undefined ? undefined : view?.positionOf(last),
    };
  }

  /** @returns events, and up to where the room has no others for the server */
  async #read(
    destination: string,
    { room: nid, span }: PendingRoom,
    { characters, latestOnly, limit, most }: EventsWanted & { readonly most: number },
  ): Promise<{ readonly events: readonly EventToSend[]; readonly upTo: number }> {
    const { after, newest } = span;
    const recent = this.#options.rooms
      .peek(nid)
      ?.ring.between(after, newest)
      ?.filter((event) => isOurs(event, this.#options.isLocal));
    const { covered, events: all } =
      recent === undefined
        ? await this.#stored({ room: nid, after, upTo: newest }, latestOnly ? most + 1 : undefined)
        : { covered: newest, events: recent.map(ofEvent) };
    if (latestOnly && all.length > most) {
      const last = recent === undefined ? await this.#newest(nid, after, newest) : all.at(-1);
      return { events: last === undefined ? [] : notOf(destination, [last]), upTo: newest };
    }
    const read = firstOf(all, limit, characters);
    const upTo = read.length === all.length ? covered : (read.at(-1)?.nid ?? covered);
    return { events: notOf(destination, read), upTo };
  }

  /** @param count how many have to be seen; undefined where those that others have just read will do */
  async #stored(
    span: EventSpan,
    count: number | undefined,
  ): Promise<{ readonly covered: number; readonly events: readonly EventToSend[] }> {
    if (count === undefined) return this.#pages.read(span);
    const records = await eventsToSend(this.#options.database, span, count);
    return { covered: span.upTo, events: records.map(eventToSend) };
  }

  async #newest(room: number, after: number, upTo: number): Promise<EventToSend | undefined> {
    const record = await newestEventToSend(this.#options.database, { room, after, upTo });
    return record && eventToSend(record);
  }
}

const ofEvent = ({ nid, json, sender }: StoredEvent): EventToSend => ({ nid, json, sender });

const onTheirWay = (events: readonly EventToSend[], delivered: () => void): EventsOnTheirWay => ({
  pdus: events.map(({ json }) => json),
  identity: events.map(({ nid }) => String(nid)),
  delivered,
});

const readable = (record: EventRecord, givenUp: (err: unknown) => void): EventToSend | undefined => {
  try {
    return eventToSend(record);
  } catch (err) {
    givenUp(err);
    return undefined;
  }
};

/** So many, of so many characters together, but one in any case. */
const firstOf = <Event extends { readonly json: string }>(
  events: readonly Event[],
  limit: number,
  characters: number,
): readonly Event[] => {
  let left = characters;
  const end = events.findIndex(({ json }, index) => {
    left -= json.length;
    return index >= limit || (index > 0 && left < 0);
  });
  return end < 0 ? events : events.slice(0, end);
};

/** A server is not sent what it made itself. */
const notOf = (destination: string, events: readonly EventToSend[]): readonly EventToSend[] =>
  events.filter(({ sender }) => domainOf(sender) !== destination);

const firstRoomsOf = (places: Iterable<PendingRoom>): PendingRoom[] => {
  const first: PendingRoom[] = [];
  for (const place of places) {
    first.push(place);
    if (first.length === ROOMS_AT_ONCE) break;
  }
  return first;
};
