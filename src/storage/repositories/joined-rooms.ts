import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

const JOINED = sql(
  'rooms_joined_ids',
  'select r.room_id from member m join rooms r on r.nid = m.room where m.user_nid = $1 and m.membership = 1 order by r.nid',
);

/** The ids of the rooms in which a user is. */
export const joinedRoomIds = async (database: Database, user: number): Promise<string[]> =>
  (await database.query<{ room_id: string }>(JOINED, [user])).map((row) => row.room_id);
