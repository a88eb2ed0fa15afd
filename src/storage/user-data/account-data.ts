import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

export interface AccountDataRecord {
  /** 0 for global account data. */
  readonly room: number;
  readonly type: string;
  /** JSON. */
  readonly content: string;
  readonly pos: number;
}

const OF_USER = sql(
  'account_data_of_user',
  'select room, type, content, pos from account_data where user_nid = $1 order by pos',
);
const OF_USERS = sql(
  'account_data_of_users',
  'select user_nid, content from account_data where user_nid = any($1::int[]) and room = 0 and type = $2',
);

/** All account data of a user, the oldest change first. */
export const accountDataOfUser = (database: Database, user: number): Promise<AccountDataRecord[]> =>
  database.query<AccountDataRecord>(OF_USER, [user]);

/** Global account data of one type, of several users; those who have none are left out. */
export const globalAccountDataOf = (
  database: Database,
  users: readonly number[],
  type: string,
): Promise<{ readonly user_nid: number; readonly content: string }[]> => database.query(OF_USERS, [users, type]);
