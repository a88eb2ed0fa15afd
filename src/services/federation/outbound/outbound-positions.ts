import { Background } from '#src/kernel/concurrency/background.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import { ORIGIN, type PositionVector, shardOfName, SHARDS } from '#src/protocol/wire/position.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import {
  cursorsAt,
  followerCursors,
  pagesOfRoomsBehind,
  saveFollowerCursors,
} from '#src/storage/events/event-followers.ts';
import { isOfDatabase } from '#src/storage/failures.ts';
import { destinationRooms, replaceDestinationRooms } from '#src/storage/federation/destination-rooms.ts';
import type { EventAudience } from './event-audience.ts';
import type { PendingRooms } from './pending-rooms.ts';

/** Its name in stored cursors, logs and metrics. */
export const NAME = 'federation';
const PAGE = 500;
/** How long progress may stay unwritten. */
const KEEP_MS = 1_000;
/** The same, when nothing since concerns other servers. */
const KEEP_IDLE_MS = 60_000;

export interface OutboundPositionsOptions {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly writer: Writer;
  readonly pending: PendingRooms;
  readonly audience: EventAudience;
  readonly timers: Timers;
  readonly logger: Logger;
}

/**
 * Stores up to which positions it is known what waits for other servers, and that itself: a position for each server and room, of servers
 * alone that have not kept up. What came after that is worked out again from the events themselves by the next process.
 */
export class OutboundPositions {
  readonly #options: OutboundPositionsOptions;
  readonly #keeping: Background;
  /** Up to where everything is known to the database, in each shard. */
  #keptUpTo: PositionVector = ORIGIN;
  #timer: { readonly timer: Timer; readonly isPatient: boolean } | undefined;
  #stopListening: (() => void) | undefined;

  constructor(options: OutboundPositionsOptions) {
    this.#options = options;
    const { logger } = options;
    this.#keeping = new Background(
      'federation positions',
      () => this.#keep(),
      (err) => {
        logger.error('federation positions could not be stored; trying again', { err });
        this.noteSoon();
      },
    );
  }

  /** Reads what the last process stored, works out the rest, and listens. The writer owns its shards. */
  async start(): Promise<void> {
    await this.#recallKept();
    const { audience, database, writer } = this.#options;
    const committed = writer.committed();
    const cursors = new Map((await followerCursors(database, NAME)).map(({ shard, pos }) => [shard, pos]));
    this.#keptUpTo = committed.map((position, shard) => (cursors.size === 0 ? position : (cursors.get(shard) ?? 0)));
    audience.resume(committed);
    this.#stopListening = audience.listen();
    if (cursors.size === 0) await saveFollowerCursors(database, NAME, cursorsAt(committed));
    for (let shard = 0; shard < SHARDS; shard++) {
      const after = this.#keptUpTo[shard] ?? 0;
      if (after >= (committed[shard] ?? 0)) continue;
      for await (const page of pagesOfRoomsBehind(database, { shard, room: 0, after, limit: PAGE }))
        for (const nid of page) await this.#recall(nid, after);
    }
  }

  /** Has what waits stored in a moment. */
  noteSoon(): void {
    this.#wake(false);
  }

  /** The same when only events came that may concern nobody. */
  noteSometime(): void {
    this.#wake(true);
  }

  /** Resolves when nothing is being stored. */
  idle(): Promise<void> {
    return this.#keeping.idle();
  }

  /** Stores what is left for the next process, and listens no longer. */
  async close(): Promise<void> {
    this.#stopListening?.();
    this.#timer?.timer.cancel();
    await this.#keeping.close();
    if (this.#stopListening === undefined) return;
    try {
      await this.#keep();
    } catch (err) {
      this.#options.logger.warn(
        'what waits for other servers could not be stored; the next process works it out again',
        {
          err,
        },
      );
    }
  }

  /** A room that cannot be read keeps neither the others from their servers, nor the process from starting. */
  async #recall(nid: number, after: number): Promise<void> {
    const { audience, logger, rooms } = this.#options;
    try {
      const room = await rooms.byNid(nid);
      if (room !== undefined) audience.recall(room, after);
    } catch (err) {
      if (isOfDatabase(err)) throw err;
      logger.error('events of a room that other servers may not have got could not be worked out', {
        room_nid: nid,
        err,
      });
    }
  }

  async #recallKept(): Promise<void> {
    const { database, pending, writer } = this.#options;
    for (let last = { destination: '', room: 0, after: 0 }; ;) {
      const page = await destinationRooms(database, last, PAGE);
      // Where nothing of a room had been sent, `after` is no position of its own, and says nothing of its shard.
      for (const row of page) pending.recall(row, writer.committedIn(shardOfName(row.roomId)));
      const end = page.at(-1);
      if (end === undefined) return;
      last = end;
    }
  }

  #wake(isPatient: boolean): void {
    const known = this.#timer;
    if (known !== undefined && (isPatient || !known.isPatient)) return;
    known?.timer.cancel();
    const timer = this.#options.timers.after(isPatient ? KEEP_IDLE_MS : KEEP_MS, () => {
      this.#timer = undefined;
      this.#keeping.wake();
    });
    this.#timer = { timer, isPatient };
  }

  /** Writes what waits, and up to where that is all. */
  async #keep(): Promise<void> {
    const { audience, database, pending } = this.#options;
    audience.spread();
    const reached = audience.heard;
    const changes = pending.takeChanges();
    const cursors = cursorsAt(reached).filter(({ shard, pos }) => pos !== this.#keptUpTo[shard]);
    if (changes.taken.length === 0 && cursors.length === 0) return;
    try {
      await database.write(async (tx) => {
        await replaceDestinationRooms(tx, changes.replaced, changes.rows);
        if (cursors.length > 0) await saveFollowerCursors(tx, NAME, cursors);
      });
      this.#keptUpTo = reached;
    } catch (error) {
      pending.putBack(changes);
      throw error;
    }
  }
}
