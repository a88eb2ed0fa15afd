import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

const JOINED = sql(
  'rooms_joined_ids',
  'select r.room_id from member m join rooms r on r.nid = m.room where m.user_nid = $1 and m.membership = 1 order by r.nid',
);

/** The ids of a user's joined rooms. */
export const joinedRoomIds = async (database: Database, user: number): Promise<string[]> =>
  (await database.query<{ room_id: string }>(JOINED, [user])).map((row) => row.room_id);

const COUNT_JOINED = sql(
  'rooms_joined_count',
  `select count(*)::int as count from member m join users u on u.nid = m.user_nid where u.user_id = $1 and m.membership = 1`,
);

/** The number of a user's joined rooms. */
export const countJoinedRooms = async (database: Database, userId: string): Promise<number> =>
  (await database.query<{ count: number }>(COUNT_JOINED, [userId]))[0]?.count ?? 0;

const SHARE_ROOM = sql(
  'member_share_room',
  `select 1 from member a join member b on b.room = a.room and b.user_nid = $2 and b.membership = 1
   where a.user_nid = $1 and a.membership = 1 limit 1`,
);

/** Whether two users are joined to a common room. */
export const shareRoom = async (database: Database, one: number, other: number): Promise<boolean> =>
  (await database.query(SHARE_ROOM, [one, other])).length > 0;

const ROOMS_TO_LEAVE = sql(
  'member_rooms_to_leave',
  `select r.room_id from member m join rooms r on r.nid = m.room where m.user_nid = $1 and m.membership in (1, 2, 3)
   order by r.nid`,
);
/** The ids of the rooms that a user is joined to, invited to, or knocks on. */
export const roomIdsToLeave = async (database: Database, user: number): Promise<string[]> =>
  (await database.query<{ room_id: string }>(ROOMS_TO_LEAVE, [user])).map((row) => row.room_id);

const JOINED_AMONG = sql(
  'rooms_joined_among',
  `select r.room_id from users u join member m on m.user_nid = u.nid and m.membership = 1 join rooms r on r.nid = m.room
   where u.user_id = $1 and r.room_id = any($2::text[])`,
);

/** Those of these rooms that a user is joined to. */
export const joinedAmong = async (
  database: Database,
  userId: string,
  roomIds: readonly string[],
): Promise<readonly string[]> =>
  (await database.query<{ room_id: string }>(JOINED_AMONG, [userId, roomIds])).map((row) => row.room_id);

const RESIDENT_AMONG = sql(
  'rooms_resident_among',
  `select r.room_id from rooms r where r.room_id = any($1::text[])
   and exists (select 1 from member m where m.room = r.nid and m.local and m.membership = 1)`,
);

/** Those of these rooms that any user of this server is joined to. */
export const residentAmong = async (database: Database, roomIds: readonly string[]): Promise<readonly string[]> =>
  roomIds.length === 0
    ? []
    : (await database.query<{ room_id: string }>(RESIDENT_AMONG, [roomIds])).map((row) => row.room_id);

const JOINED_TO_ANY = sql(
  'member_joined_to_any',
  `select u.nid from unnest($1::int[]) u(nid)
   where exists (select 1 from member m where m.user_nid = u.nid and m.room = any($2::int[]) and m.membership = 1)`,
);

/** Those of these users who are in any of these rooms. */
export const joinedToAny = async (
  database: Database,
  users: readonly number[],
  rooms: readonly number[],
): Promise<readonly number[]> =>
  (await database.query<{ nid: number }>(JOINED_TO_ANY, [users, rooms])).map(({ nid }) => nid);
