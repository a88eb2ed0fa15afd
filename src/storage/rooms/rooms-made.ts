import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

const MADE_SINCE = sql(
  'rooms_made_since',
  'select nid from rooms where creator = $1 and created_ts >= $2 and not gone order by nid limit 1000',
);

/** The rooms that a user created at or after a time, the earliest first. @param creator the user's number @param ts milliseconds since the epoch */
export const roomsMadeSince = async (database: Database, creator: number, ts: number): Promise<number[]> =>
  (await database.query<{ nid: number }>(MADE_SINCE, [creator, ts])).map(({ nid }) => nid);
