import { sql, type Database } from '../database.ts';

const GUESTS_AMONG = sql(
  'accounts_guests_among',
  'select user_id as "userId" from accounts where user_id = any($1::text[]) and is_guest',
);
const ROOMS_OF_GUESTS = sql(
  'member_rooms_of_guests',
  `select distinct m.room from accounts a join users u on u.user_id = a.user_id
   join member m on m.user_nid = u.nid where a.is_guest and m.membership = 1 order by m.room`,
);

/** Those of some users who are guests. */
export const guestsAmong = async (database: Database, userIds: readonly string[]): Promise<string[]> =>
  (await database.query<{ userId: string }>(GUESTS_AMONG, [userIds])).map((row) => row.userId);

/** The rooms that guests are in. */
export const roomsOfGuests = async (database: Database): Promise<number[]> =>
  (await database.query<{ room: number }>(ROOMS_OF_GUESTS)).map((row) => row.room);
