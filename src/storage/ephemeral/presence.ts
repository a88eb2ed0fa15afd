import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** The presence of a user, as it was when the last process stopped or it was last worth storing. */
export interface PresenceRecord {
  readonly user_id: string;
  readonly state: string;
  readonly status_msg: string | null;
  /** Milliseconds since the epoch. */
  readonly last_active_ts: number;
}

const OF_USERS = sql(
  'presence_of_users',
  'select user_id, state, status_msg, last_active_ts from presence where user_id = any($1::text[])',
);
const STORE = sql(
  'presence_store',
  `insert into presence (user_id, state, status_msg, last_active_ts)
   select * from unnest($1::text[], $2::text[], $3::text[], $4::bigint[])
   on conflict (user_id) do update set state = excluded.state, status_msg = excluded.status_msg,
     last_active_ts = excluded.last_active_ts`,
);

export const presenceOf = (database: Database, userIds: readonly string[]): Promise<PresenceRecord[]> =>
  database.query<PresenceRecord>(OF_USERS, [userIds]);

export const storePresence = async (database: Database, rows: readonly PresenceRecord[]): Promise<void> => {
  await database.query(STORE, [
    rows.map((row) => row.user_id),
    rows.map((row) => row.state),
    rows.map((row) => row.status_msg),
    rows.map((row) => row.last_active_ts),
  ]);
};
