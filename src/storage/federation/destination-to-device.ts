import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** An `m.direct_to_device` for another server, as it is kept until it has arrived. */
export interface DestinationMessageRow {
  readonly destination: string;
  readonly messageId: string;
  /** JSON of its content. */
  readonly json: string;
}

const INSERT = sql(
  'destination_to_device_insert',
  `insert into destination_to_device (destination, message_id, json, created_ts)
   select *, $4 from unnest($1::text[], $2::text[], $3::text[]) on conflict do nothing`,
);
const NEXT = sql(
  'destination_to_device_next',
  `select id, message_id as "messageId", json from destination_to_device where destination = $1 order by id limit $2`,
);
const DELETE = sql('destination_to_device_delete', 'delete from destination_to_device where id = any($1::bigint[])');
const FORGET = sql('destination_to_device_forget', 'delete from destination_to_device where destination = $1');
const DESTINATIONS = sql('destination_to_device_all', 'select distinct destination from destination_to_device');
const EXPIRE = sql(
  'destination_to_device_expire',
  `delete from destination_to_device
   where id = any(array(select id from destination_to_device where created_ts <= $1 limit $2)) returning 1`,
);
// A server that never comes back must not fill the disk: the oldest go.
const TRIM = sql(
  'destination_to_device_trim',
  `with full_ones as (
     select destination, (array_agg(id order by id desc))[$1::int] as oldest
     from destination_to_device group by destination having count(*) > $1::int
   ), surplus as (
     select t.id from full_ones f join destination_to_device t using (destination) where t.id < f.oldest limit $2
   ), deleted as (
     delete from destination_to_device t using surplus s where t.id = s.id returning 1
   ) select count(*)::int as count from deleted`,
);

/** Keeps messages until they are delivered; one that is kept already is kept once. @param now milliseconds */
export const keepDestinationMessages = async (
  database: Database,
  rows: readonly DestinationMessageRow[],
  now: number,
): Promise<void> => {
  await database.query(INSERT, [
    rows.map(({ destination }) => destination),
    rows.map(({ messageId }) => messageId),
    rows.map(({ json }) => json),
    now,
  ]);
};

/** The oldest messages for a server. */
export const nextDestinationMessages = (
  database: Database,
  destination: string,
  limit: number,
): Promise<{ readonly id: number; readonly messageId: string; readonly json: string }[]> =>
  database.query(NEXT, [destination, limit]);

/** Deletes messages that were delivered. */
export const deleteDestinationMessages = async (database: Database, ids: readonly number[]): Promise<void> => {
  await database.query(DELETE, [ids]);
};

/** Deletes all messages for a server. */
export const forgetDestinationMessages = async (database: Database, destination: string): Promise<void> => {
  await database.query(FORGET, [destination]);
};

/** The servers for which messages are kept. */
export const destinationsOfMessages = async (database: Database): Promise<string[]> =>
  (await database.query<{ destination: string }>(DESTINATIONS, [])).map(({ destination }) => destination);

/** Deletes up to `limit` messages of before a time, or beyond the newest `keep` of a server. @returns how many */
export const trimDestinationMessages = async (
  database: Database,
  { before, keep, limit }: { readonly before: number; readonly keep: number; readonly limit: number },
): Promise<number> => {
  const expired = (await database.query(EXPIRE, [before, limit])).length;
  if (expired >= limit) return expired;
  return (await database.query<{ count: number }>(TRIM, [keep, limit]))[0]?.count ?? 0;
};
