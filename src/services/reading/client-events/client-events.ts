import type { Clock } from '#src/kernel/clock.ts';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { StickySource } from '#src/services/events/sticky/sticky-view.ts';
import type { VisibleEvent } from '#src/services/reading/visibility/visible-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** The reader that events are written for. */
export interface Reader {
  readonly userId: string;
  readonly deviceId: string | undefined;
}

/** Aggregates relations of events. Client-Server API, "Aggregations of child events". */
export interface BundledAggregations {
  /** Makes known what `bundle` will write for events of several rooms: it reads that no more. */
  prepare(targets: readonly { readonly room: Room; readonly event: StoredEvent }[]): Promise<void>;
  /** Position of an event -> JSON text of its `m.relations`, for those events that have any. */
  bundle(room: Room, reader: Reader, events: readonly StoredEvent[]): Promise<ReadonlyMap<number, string>>;
}

/** Writes events in the format of the Client-Server API. */
export class ClientEvents {
  readonly #clock: Clock;
  readonly #aggregations: BundledAggregations | undefined;
  readonly #sticky: StickySource | undefined;

  constructor(clock: Clock, aggregations?: BundledAggregations, sticky?: StickySource) {
    this.#clock = clock;
    this.#aggregations = aggregations;
    this.#sticky = sticky;
  }

  /** Makes known what `write` will need for events of several rooms, in a handful of statements at most. */
  async prepare(targets: readonly { readonly room: Room; readonly event: StoredEvent }[]): Promise<void> {
    await this.#aggregations?.prepare(targets.filter(({ event }) => (event.flags & EVENT_FLAGS.state) === 0));
  }

  /** JSON of each event, with all that depends on who reads it. */
  async write(room: Room, reader: Reader, events: readonly VisibleEvent[]): Promise<string[]> {
    const relations = await this.#aggregations?.bundle(
      room,
      reader,
      events.map(({ event }) => event),
    );
    const sticky = events.some(({ event }) => event.stickyDuration !== undefined)
      ? (await this.#sticky?.forRooms([room]))?.get(room.nid)
      : undefined;
    const now = this.#clock.now();
    return events.map((visible) => {
      const { event } = visible;
      return eventText(
        visible,
        reader,
        { now, relations: relations?.get(event.nid), stickyTtl: sticky?.ttl(event) },
        true,
      );
    });
  }
}

/** The text of an event, with all that depends on who reads it. @param withRoomId /sync leaves the room id out */
export const eventText = (
  { event, membership, hidesPrevious }: VisibleEvent,
  reader: Reader,
  shown: { readonly now: number; readonly relations?: string | undefined; readonly stickyTtl?: number | undefined },
  withRoomId: boolean,
): string => {
  const transactionId = event.transactionIdFor(reader);
  const delayId = event.delayIdFor(reader.userId);
  return event.clientJson({ ...shown, membership, hidesPrevious, transactionId, delayId }, withRoomId);
};
