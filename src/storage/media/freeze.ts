import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

const KEY = 'media.unauthenticated_before';
const CLAIM = sql(
  'media_freeze_claim',
  'insert into server_meta (key, value) values ($1, $2) on conflict (key) do nothing',
);
const READ = sql('media_freeze_read', 'select value from server_meta where key = $1');

/** When downloads without a token were switched on first, milliseconds since the epoch: now, if they never were. */
export const firstTime = async (database: Database, now: number): Promise<number> => {
  await database.query(CLAIM, [KEY, String(now)]);
  return Number((await database.query<{ value: string }>(READ, [KEY]))[0]?.value ?? now);
};
