import { reclaimDiskSpace } from '#src/jobs/definitions.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { CacheOfUsers } from '#src/services/admin/deactivation/deactivation.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { MediaReferences } from '#src/services/media/media-references.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { ClosedRooms } from '#src/services/rooms/membership/closed-rooms.ts';
import type { Database } from '#src/storage/database.ts';
import {
  forgetGoneRoom,
  goneRoomNid,
  lastUserNid,
  PURGED_TABLES,
  purgeEventsAfter,
  purgeFew,
  purgeOfUsers,
  purgeRows,
  purgeStates,
  vanishRoom,
} from '#src/storage/rooms/room-purge.ts';

export interface RoomPurgeOptions {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly loader: EventLoader;
  readonly writer: Writer;
  readonly stream: RoomEventStream;
  readonly closed: ClosedRooms;
  readonly media: Pick<MediaReferences, 'releaseRoom'>;
  /** Joins that are under way. */
  readonly remote: { coming(roomId: string): Promise<void> | undefined };
  /** Sends other servers what waits for them of a room. */
  readonly outbound: { settle(room: Room, signal: AbortSignal): Promise<void> };
  /** Caches of users' data, account data of rooms included. */
  readonly caches: readonly CacheOfUsers[];
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  /** Rows that are deleted in one transaction. */
  readonly batchSize: number;
  /** Milliseconds between two batches at least; slow batches are followed by longer pauses. */
  readonly pauseMs: number;
}

/** Batches take a share of the time: the pause after each is so many times as long as the batch. */
const PAUSE_PER_WORK = 2;
/** User numbers that are scanned in one statement. */
const USERS_AT_ONCE = 20_000;
const BEFORE_ALL = -Number.MAX_SAFE_INTEGER;

/**
 * Deletes rooms with everything that belongs to them. One commit makes the room unknown to clients; rows that refer to its number, which no
 * other room ever gets, are deleted after that in small batches. It may be interrupted anywhere and starts again. Until nothing is left users
 * of this server cannot join the room; afterwards it is a room that this server does not know.
 */
export class RoomPurge {
  readonly #options: RoomPurgeOptions;

  constructor(options: RoomPurgeOptions) {
    this.#options = options;
  }

  /**
   * Deletes a room, unless users of this server are in it.
   *
   * @param isForced whether they are removed from it without a leave event
   * @returns false when the signal came first
   * @throws MatrixError M_UNKNOWN (400) while users of this server are in it
   */
  async purge(roomId: string, isForced: boolean, signal: AbortSignal): Promise<boolean> {
    const { closed, database, logger } = this.#options;
    if (!(await this.#close(roomId, isForced, signal))) return false;
    const nid = await goneRoomNid(database, roomId);
    if (nid === undefined) return true;
    if (!(await this.#sweep(nid, roomId, signal))) return false;
    closed.going(roomId, false);
    logger.info('a room is deleted', { room_id: roomId });
    return true;
  }

  /** @returns false when the signal came first */
  async #close(roomId: string, isForced: boolean, signal: AbortSignal): Promise<boolean> {
    const { closed, outbound, remote, rooms } = this.#options;
    const room = await rooms.heardOf(roomId);
    if (room === undefined) return true;
    // A join from now on would be a join of a room that is being deleted.
    closed.going(roomId, true);
    try {
      await remote.coming(roomId);
      await outbound.settle(room, signal);
      if (signal.aborted) return false;
      await room.turns.rewritePast(() => room.turns.exclusively(() => this.#deleteAtOnce(room, isForced)));
      return true;
    } finally {
      if (!room.isDeleted) closed.going(roomId, false);
    }
  }

  /** From now on the room is not found, and references that others hold to it are to an empty room. */
  async #deleteAtOnce(room: Room, isForced: boolean): Promise<void> {
    const { caches, database, rooms, stream, writer } = this.#options;
    while (room.isAhead) await writer.nextBatch();
    if (room.isResident && !isForced)
      throw new MatrixError('M_UNKNOWN', 'Users are still joined to this room.', {}, 400);
    await database.write((tx) => vanishRoom(tx, room.nid));
    const localUsers = [...room.members.values()].flatMap(({ local, userId }) => (local ? userId : []));
    rooms.discard(room);
    room.empty();
    stream.publish({ kind: 'deleted', room, localUsers });
    for (const cache of caches) for (const userId of localUsers) cache.forget(userId);
    // Writes that were queued before are deleted with the rest.
    await writer.idle();
  }

  async #sweep(room: number, roomId: string, signal: AbortSignal): Promise<boolean> {
    const { batchSize, database, loader, media } = this.#options;
    if (!(await media.releaseRoom(room, signal))) return false;
    const last = await lastUserNid(database);
    for (let after = 0; after < last; after += USERS_AT_ONCE)
      if (!(await this.#step(signal, () => purgeOfUsers(database, room, after, after + USERS_AT_ONCE)))) return false;
    if (!(await this.#step(signal, () => purgeFew(database, room, roomId)))) return false;
    for (let table = 0; table < PURGED_TABLES; table++)
      if (!(await this.#batches(signal, () => purgeRows(database, table, room, batchSize)))) return false;
    let after = BEFORE_ALL;
    const areEventsGone = await this.#batches(signal, async () => {
      const gone = await purgeEventsAfter(database, room, after, batchSize);
      after = gone.reduce((latest, nid) => Math.max(latest, nid), after);
      loader.removePurged(new Set(gone), new Set());
      return gone.length;
    });
    if (!areEventsGone) return false;
    if (!(await this.#batches(signal, () => purgeStates(database, room, batchSize)))) return false;
    await database.write(async (tx) => {
      await forgetGoneRoom(tx, room);
      await tx.enqueue(reclaimDiskSpace, {});
    });
    return true;
  }

  /** Does something until there is nothing to do, with pauses. @returns false when the signal came first */
  async #batches(signal: AbortSignal, batch: () => Promise<number>): Promise<boolean> {
    for (let count = -1; count !== 0;)
      if (!(await this.#step(signal, async () => void (count = await batch())))) return false;
    return true;
  }

  async #step(signal: AbortSignal, work: () => Promise<void>): Promise<boolean> {
    const { clock, pauseMs, timers } = this.#options;
    if (signal.aborted) return false;
    const started = clock.monotonic();
    await work();
    const restMs = Math.max(pauseMs, PAUSE_PER_WORK * (clock.monotonic() - started));
    if (restMs > 0) await timers.sleep(restMs, signal);
    return !signal.aborted;
  }
}
