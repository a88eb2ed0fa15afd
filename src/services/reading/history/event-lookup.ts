import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { eventIdBytes } from '#src/services/room-model/event/event-ids.ts';
import type { Database } from '#src/storage/database.ts';
import { positionsById } from '#src/storage/room-model/event-positions.ts';
import type { Reader } from '#src/services/reading/client-events/client-events.ts';
import type { History } from './history.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';

/** Finds events of which only the id is known. Client-Server API, `GET /events/{eventId}`. */
export class EventLookup {
  readonly #database: Database;
  readonly #rooms: RoomRegistry;
  readonly #history: History;

  constructor(options: { readonly database: Database; readonly rooms: RoomRegistry; readonly history: History }) {
    this.#database = options.database;
    this.#rooms = options.rooms;
    this.#history = options.history;
  }

  /** JSON text. @throws MatrixError M_NOT_FOUND when it is not here, or not for this reader */
  async event(reader: Reader, eventId: string): Promise<string> {
    const [place] = await positionsById(this.#database, [eventIdBytes(eventId)]);
    const room = place === undefined ? undefined : (await this.#rooms.load([place.room])).get(place.room);
    if (room === undefined) throw new MatrixError('M_NOT_FOUND', 'There is no such event, or you may not see it.');
    return this.#history.event(room.roomId, reader, eventId);
  }
}
