import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

const COUNT = sql(
  'room_local_devices',
  `select count(*)::int as count from member m join users u on u.nid = m.user_nid join devices d on d.user_id = u.user_id
   where m.room = $1 and m.local and m.membership = 1`,
);

/** Number of devices of a room's local members. */
export const countLocalDevices = async (database: Database, room: number): Promise<number> =>
  (await database.query<{ count: number }>(COUNT, [room]))[0]?.count ?? 0;
