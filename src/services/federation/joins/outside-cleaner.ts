import type { Clock } from '#src/kernel/clock.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import { deleteOutsideRoom, unusedOutsideRooms } from '#src/storage/federation/outside-rooms.ts';

const DAY_MS = 86_400_000;
/** Days for which it is remembered that an invite was declined: clients that were away that long begin anew. */
const KEPT_DAYS = 90;
const ROOMS_AT_ONCE = 200;

export interface OutsideCleanerOptions {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly writer: Writer;
  readonly clock: Clock;
}

/** Forgets rooms of other servers of which nothing is left but invites that were declined long ago: whoever invites could make any number. */
export class OutsideCleaner {
  readonly #options: OutsideCleanerOptions;

  constructor(options: OutsideCleanerOptions) {
    this.#options = options;
  }

  /** Stops when the signal comes. */
  async clean(signal: AbortSignal): Promise<void> {
    const { clock, database } = this.#options;
    const before = clock.now() - KEPT_DAYS * DAY_MS;
    let room = 0;
    while (!signal.aborted) {
      const unused = await unusedOutsideRooms(database, { room, before, limit: ROOMS_AT_ONCE });
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
      await deleteOutsideRoom(database, nid, before);
      rooms.discard(room);
    });
  }
}
