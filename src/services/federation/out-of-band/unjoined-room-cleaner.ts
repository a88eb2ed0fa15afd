import type { Clock } from '#src/kernel/clock.ts';
import { DAY_MS } from '#src/kernel/dates.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import { deleteUnjoinedRoom, unusedUnjoinedRooms } from '#src/storage/federation/unjoined-rooms.ts';

/** Days for which rejected invites are remembered: clients that were away for longer start with an initial sync. */
const KEPT_DAYS = 90;
const ROOMS_AT_ONCE = 200;

export interface UnjoinedRoomCleanerOptions {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly writer: Writer;
  readonly clock: Clock;
}

/** Deletes remote rooms of which only invites are left that were rejected long ago: other servers can create any number of them. */
export class UnjoinedRoomCleaner {
  readonly #options: UnjoinedRoomCleanerOptions;

  constructor(options: UnjoinedRoomCleanerOptions) {
    this.#options = options;
  }

  /** Stops when the signal comes. */
  async clean(signal: AbortSignal): Promise<void> {
    const { clock, database } = this.#options;
    const before = clock.now() - KEPT_DAYS * DAY_MS;
    let room = 0;
    while (!signal.aborted) {
      const unused = await unusedUnjoinedRooms(database, { room, before, limit: ROOMS_AT_ONCE });
      for (const { nid } of unused) await this.#forget(nid, before);
      if (unused.length < ROOMS_AT_ONCE) return;
      room = unused.at(-1)?.nid ?? room;
    }
  }

  async #forget(nid: number, before: number): Promise<void> {
    const { database, rooms, writer } = this.#options;
    const room = await rooms.byNid(nid);
    await room?.turns.exclusively(async () => {
      while (room.isAhead) await writer.nextBatch();
      if (room.isHere || [...room.members.values()].some(({ local, membership }) => local && membership !== 'leave'))
        return;
      await deleteUnjoinedRoom(database, nid, before);
      rooms.discard(room);
    });
  }
}
