import type { Database } from '../database.ts';
import { sql } from '../statement.ts';
import { joinRelated, ofThreaded } from '../reading/thread-roots.ts';

const OLD_TXNS = sql(
  'clean_txns',
  'delete from txn where ctid = any(array(select ctid from txn where day < $1 limit $2)) returning 1',
);
// A threaded receipt reads one thread, an unthreaded one everything: an exception goes when the receipt that covers it is past it,
// or when the user has left the room. Receipts name threads by the root's event id, in either alphabet of base64 (ids that were
// assigned, in rooms of version 1 and 2, wait for an unthreaded receipt).
const READ_MENTIONS = sql(
  'clean_mentions',
  `with read as (
     select m.user_nid, m.room, m.pos, m.thread from mention m
     where (m.user_nid, m.room, m.pos) > ($1, $2, $3) order by m.user_nid, m.room, m.pos limit $4
   ), block as (
     select r.user_nid, r.room, r.pos, coalesce(r.thread, ${ofThreaded('e', 'rel')}) as thread
     from read r left join events e on e.room = r.room and e.nid = r.pos ${joinRelated('e')}
   ), gone as (
     delete from mention d using block b
     where d.user_nid = b.user_nid and d.room = b.room and d.pos = b.pos and (
       not exists (select 1 from member w where w.room = b.room and w.user_nid = b.user_nid and w.membership = 1)
       or exists (
         select 1 from receipts r where r.room = b.room and r.user_nid = b.user_nid and r.event >= b.pos
           and (r.thread = '' or (r.thread = 'main' and b.thread is null) or (b.thread is not null and r.thread in (
             select unnest(array['$' || translate(i.id, '+/=', '-_'), '$' || translate(i.id, '=', '')]) from (
               select encode(t.event_id, 'base64') as id from events t where t.room = b.room and t.nid = b.thread
             ) i
           )))
       )
     ) returning 1
   ) select b.user_nid, b.room, b.pos, (select count(*)::int from gone) as deleted from block b
   order by b.user_nid desc, b.room desc, b.pos desc limit 1`,
);

/** Deletes up to `limit` transaction ids from before a day (days since the epoch). @returns how many */
export const deleteOldTxns = async (database: Database, day: number, limit: number): Promise<number> =>
  (await database.query(OLD_TXNS, [day, limit])).length;

export interface MentionPlace {
  readonly user_nid: number;
  readonly room: number;
  readonly pos: number;
}

/** Deletes what has been read of the next `limit` exceptions after a place. @returns where that ended; undefined at the end */
export const deleteReadMentions = async (
  database: Database,
  after: MentionPlace,
  limit: number,
): Promise<(MentionPlace & { readonly deleted: number }) | undefined> =>
  (
    await database.query<MentionPlace & { deleted: number }>(READ_MENTIONS, [
      after.user_nid,
      after.room,
      after.pos,
      limit,
    ])
  )[0];
