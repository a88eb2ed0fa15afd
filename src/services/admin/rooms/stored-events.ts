import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { eventIdBytes } from '#src/services/room-model/event/event-ids.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { ageOf } from '#src/services/room-model/event/stored-event.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import { positionsById } from '#src/storage/room-model/event-positions.ts';

/** Reads events as they are stored, for administrators; hidden ones too. */
export class StoredEvents {
  readonly #options: {
    readonly database: Database;
    readonly rooms: RoomRegistry;
    readonly loader: EventLoader;
    readonly clock: Clock;
  };

  constructor(options: {
    readonly database: Database;
    readonly rooms: RoomRegistry;
    readonly loader: EventLoader;
    readonly clock: Clock;
  }) {
    this.#options = options;
  }

  /** The PDU of an event with its id, its room and its age; redacted events as they are. @throws MatrixError M_NOT_FOUND, for rejected ones too */
  async fetch(eventId: string): Promise<JsonObject> {
    const { clock, database, loader, rooms } = this.#options;
    const [place] = await positionsById(database, [eventIdBytes(eventId)]);
    const room =
      place === undefined || (place.flags & EVENT_FLAGS.rejected) !== 0 ? undefined : await rooms.byNid(place.room);
    const event = room === undefined ? undefined : await loader.byId(room, eventId);
    if (event === undefined) throw new MatrixError('M_NOT_FOUND', 'Event not found.');
    const isSoftFailed = (event.flags & EVENT_FLAGS.softFailed) !== 0;
    return {
      ...(JSON.parse(event.json) as JsonObject),
      event_id: event.eventId,
      room_id: event.room.roomId,
      unsigned: {
        age: ageOf(event.pdu, clock.now()),
        ...(isSoftFailed ? { 'io.element.synapse.soft_failed': true } : {}),
      },
    };
  }
}
