import { type Database, sql } from '../database.ts';

// Guests do not expire, nor do users that application services created.
const GIVE = sql(
  'accounts_give_expiry',
  `with given as (
     update accounts set expires_ts = ($1::bigint + random() * ($2::bigint - $1::bigint))::bigint
     where user_id in (
       select user_id from accounts where expires_ts is null and not is_guest and not deactivated and appservice_id is null limit $3
     ) returning 1
   ) select count(*)::int as count from given`,
);

/** Gives accounts without an expiry one at a random time within a span, `limit` at most. Returns how many. */
export const giveExpiry = async (
  database: Database,
  { earliest, latest }: { readonly earliest: number; readonly latest: number },
  limit: number,
): Promise<number> => (await database.query<{ count: number }>(GIVE, [earliest, latest, limit]))[0]?.count ?? 0;
