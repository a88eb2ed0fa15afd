import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';

const STORE = sql(
  'filter_store',
  `with known as (
    select nid from filters where user_nid = $1 and digest = $2
  ), quota as (
    select count(*) < $4 and coalesce(sum(octet_length(content)), 0) + octet_length($3) <= $5 as fits from filters where user_nid = $1
  ), created as (
    insert into filters (user_nid, digest, content) select $1, $2, $3 from quota where fits and not exists (select 1 from known)
    returning nid
  ) select coalesce((select nid from known), (select nid from created)) as nid, fits from quota`,
);
const BY_ID = sql('filter_by_id', 'select content from filters where nid = $1 and user_nid = $2');

/**
 * Stores a user's filter, or finds the one with the same digest. It is the user's turn.
 *
 * @returns its id; `full` when the user has as many as they may
 */
export const storeFilter = async (
  tx: Tx,
  user: number,
  digest: Buffer,
  content: string,
  quota: { readonly pieces: number; readonly bytes: number },
): Promise<number | 'full'> => {
  const [row] = await tx.query<{ nid: number | null; fits: boolean }>(STORE, [
    user,
    digest,
    content,
    quota.pieces,
    quota.bytes,
  ]);
  return row?.nid ?? 'full';
};

/** The JSON of a user's filter. */
export const filterById = async (database: Database, user: number, nid: number): Promise<string | undefined> =>
  (await database.query<{ content: string }>(BY_ID, [nid, user]))[0]?.content;
