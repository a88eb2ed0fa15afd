import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';

/** A room that users of this server cannot join. */
export interface BlockedRoomRecord {
  readonly roomId: string;
  /** Who blocked it. */
  readonly userId: string;
}

const BLOCKED = sql('blocked_rooms', 'select room_id as "roomId", blocked_by as "userId" from blocked_rooms');
const GONE = sql('rooms_gone', 'select room_id as "roomId" from rooms where gone');
const BLOCK = sql(
  'blocked_room_insert',
  `insert into blocked_rooms (room_id, blocked_by, blocked_ts) values ($1, $2, $3) on conflict (room_id) do nothing returning room_id`,
);
const UNBLOCK = sql('blocked_room_delete', 'delete from blocked_rooms where room_id = $1 returning room_id');

export const blockedRooms = (database: Database): Promise<BlockedRoomRecord[]> => database.query(BLOCKED);

/** The ids of rooms that are being deleted. */
export const goneRooms = async (database: Database): Promise<string[]> =>
  (await database.query<{ roomId: string }>(GONE)).map(({ roomId }) => roomId);

/** @returns whether it was not blocked before */
export const blockRoom = async (tx: Tx, roomId: string, userId: string, ts: number): Promise<boolean> =>
  (await tx.query(BLOCK, [roomId, userId, ts])).length > 0;

/** @returns whether it was blocked before */
export const unblockRoom = async (tx: Tx, roomId: string): Promise<boolean> =>
  (await tx.query(UNBLOCK, [roomId])).length > 0;
