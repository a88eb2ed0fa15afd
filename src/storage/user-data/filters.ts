import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

const STORE = sql(
  'filter_store',
  `with created as (
    insert into filters (user_nid, digest, content) values ($1, $2, $3) on conflict (user_nid, digest) do nothing returning nid
  ) select nid from created union all select nid from filters where user_nid = $1 and digest = $2 limit 1`,
);
const BY_ID = sql('filter_by_id', 'select content from filters where nid = $1 and user_nid = $2');

/** Stores a user's filter, or finds the one with the same digest; undefined when another request stores it at this moment. */
export const storeFilter = async (
  database: Database,
  user: number,
  digest: Buffer,
  content: string,
): Promise<number | undefined> => (await database.query<{ nid: number }>(STORE, [user, digest, content]))[0]?.nid;

/** The JSON of a user's filter. */
export const filterById = async (database: Database, user: number, nid: number): Promise<string | undefined> =>
  (await database.query<{ content: string }>(BY_ID, [nid, user]))[0]?.content;
