import type { Clock } from '#src/kernel/clock.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import { ageOf, isFresh, type StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { STICKY_TTL } from '#src/protocol/events/sticky.ts';
import { eventText, type Reader } from '#src/services/reading/client-events/client-events.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StickyView } from '#src/services/events/sticky/sticky-view.ts';
import type { VisibleEvent } from '#src/services/reading/visibility/visible-event.ts';
import type { SyncFilter } from '../engine/sync-filter.ts';

interface SharedTimeline {
  readonly first: StoredEvent | undefined;
  readonly last: StoredEvent | undefined;
  readonly length: number;
  readonly relations: Relations | undefined;
  /** The text contains ages, and remaining sticky durations. */
  readonly writtenAt: number;
  readonly isSticky: boolean;
  readonly text: string;
}

/** JSON text of `m.relations` by position; the same map for all readers with the same content. */
export type Relations = ReadonlyMap<number, string>;

/**
 * Writes events for sync as JSON text. What members of a room are shown is the same text for all of them but the sender's own
 * device, so the last one made for each room is kept and handed out again, for as long as its ages are accurate enough. Then it is put
 * together anew of parts that are kept with the events.
 */
export class EventEncoder {
  readonly #clock: Clock;
  readonly #shared = new WeakMap<Room, SharedTimeline>();

  constructor(clock: Clock, stream: RoomEventStream) {
    this.#clock = clock;
    // A redaction changes its event in place: cached texts of it are invalid.
    stream.on('appended', ({ room, events }) => {
      if (events.some(({ event }) => event.type === 'm.room.redaction')) this.#shared.delete(room);
    });
    stream.on('revealed', ({ room }) => {
      this.#shared.delete(room);
    });
  }

  /** The events of a timeline, joined by commas. */
  timeline(
    room: Room,
    events: readonly VisibleEvent[],
    reader: Reader,
    filter: SyncFilter,
    relations?: Relations,
    sticky?: StickyView,
  ): string {
    const plain = filter.reshape === undefined && !filter.federationFormat;
    const shareable =
      plain &&
      events.every(
        ({ event, membership, isReduced }) =>
          membership === 'join' && event.sender !== reader.userId && isReduced !== true,
      );
    const now = sticky?.now ?? this.#clock.now();
    if (!shareable)
      return events
        .map((one) => this.event(one, reader, filter, relations?.get(one.event.nid), sticky?.ttl(one.event), now))
        .join(',');
    return this.#commonText(
      room,
      events.map(({ event }) => event),
      now,
      relations,
      sticky,
    );
  }

  /** The same for events that all members of a room are told alike: those of others, from the time in which the reader is a member. */
  common(room: Room, events: readonly StoredEvent[], now: number): string {
    return this.#commonText(room, events, now, undefined, undefined);
  }

  #commonText(
    room: Room,
    events: readonly StoredEvent[],
    now: number,
    relations: Relations | undefined,
    sticky: StickyView | undefined,
  ): string {
    const first = events[0];
    const last = events.at(-1);
    const isSticky = sticky !== undefined && events.some((event) => sticky.ttl(event) !== undefined);
    const known = this.#shared.get(room);
    const isKnown = known?.first === first && known?.last === last && known?.length === events.length;
    // Sticky durations are exact to the millisecond, so this text is not reused.
    const holds = known !== undefined && (isSticky ? known.writtenAt === now : isFresh(known.writtenAt, now));
    if (isKnown && holds && known.relations === relations && known.isSticky === isSticky) return known.text;
    const text = events
      .map((event) => {
        const shown = { now, membership: 'join', relations: relations?.get(event.nid), stickyTtl: sticky?.ttl(event) };
        return event.clientJson(shown, false);
      })
      .join(',');
    this.#shared.set(room, { first, last, length: events.length, relations, writtenAt: now, isSticky, text });
    return text;
  }

  /** One event. */
  event(
    visible: VisibleEvent,
    reader: Reader,
    filter: SyncFilter,
    relations?: string,
    stickyTtl?: number,
    now = this.#clock.now(),
  ): string {
    const { event } = visible;
    if (filter.federationFormat) {
      const unsigned = { age: ageOf(event.pdu, now), ...(stickyTtl === undefined ? {} : { [STICKY_TTL]: stickyTtl }) };
      return JSON.stringify({ ...event.pdu, event_id: event.eventId, unsigned });
    }
    const text = eventText(visible, reader, { now, relations, stickyTtl }, false);
    if (filter.reshape === undefined) return text;
    return JSON.stringify(filter.reshape(JSON.parse(text) as Record<string, unknown>));
  }
}
