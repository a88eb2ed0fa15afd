import { sql, type Database } from '../database.ts';

const GUESTS_AMONG = sql(
  'accounts_guests_among',
  'select user_id as "userId" from accounts where user_id = any($1::text[]) and is_guest',
);
/** Those of some users who are guests. */
export const guestsAmong = async (database: Database, userIds: readonly string[]): Promise<string[]> =>
  (await database.query<{ userId: string }>(GUESTS_AMONG, [userIds])).map((row) => row.userId);
