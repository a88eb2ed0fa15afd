import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isRoomId } from '#src/protocol/identifiers/identifiers.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { AuditLog } from '#src/services/audit/audit-log.ts';
import type { ClosedRooms } from '#src/services/rooms/membership/closed-rooms.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import { blockRoom, unblockRoom } from '#src/storage/rooms/closed-rooms.ts';

export interface RoomBlocksOptions {
  readonly database: Database;
  readonly audit: AuditLog;
  readonly closed: ClosedRooms;
  readonly clock: Clock;
}

/** Blocks rooms, known or not, so that users of this server cannot join them, and unblocks them. */
export class RoomBlocks {
  readonly #options: RoomBlocksOptions;

  constructor(options: RoomBlocksOptions) {
    this.#options = options;
  }

  /** Who blocked a room; undefined where it is open. @throws MatrixError M_INVALID_PARAM for what is no room id */
  blockedBy(roomId: string): string | undefined {
    assertRoomId(roomId);
    return this.#options.closed.blockedBy(roomId);
  }

  /** @throws MatrixError M_INVALID_PARAM for what is no room id */
  async set(actor: Actor, roomId: string, isBlocked: boolean): Promise<void> {
    assertRoomId(roomId);
    const publish = await this.#options.database.write((tx) => this.change(tx, actor, roomId, isBlocked));
    publish();
  }

  /** The same in a transaction. @returns a function to be called after the commit, which publishes the change */
  async change(tx: Tx, actor: Actor, roomId: string, isBlocked: boolean): Promise<() => void> {
    const { audit, clock, closed } = this.#options;
    const userId = actor.userId ?? '';
    const isChanged = isBlocked ? await blockRoom(tx, roomId, userId, clock.now()) : await unblockRoom(tx, roomId);
    await audit.record(tx, actor, {
      action: isBlocked ? 'room.block' : 'room.unblock',
      roomId,
      before: { block: isChanged ? !isBlocked : isBlocked },
      after: { block: isBlocked },
    });
    return () => closed.blocked(roomId, isBlocked ? userId : undefined);
  }
}

/** @throws MatrixError M_INVALID_PARAM */
export const assertRoomId = (roomId: string): void => {
  if (!isRoomId(roomId)) throw new MatrixError('M_INVALID_PARAM', `${roomId} is not a legal room ID.`);
};
