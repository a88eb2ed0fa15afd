import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

const ROOMS = sql('updates_rooms', 'select nid from rooms where nid > $1 and not gone order by nid limit $2');
const USERS = sql(
  'updates_users',
  'select user_id as "userId" from accounts where user_id > $1 order by user_id limit $2',
);
// Entries are written after what they say is committed: what is not there now comes with its own entry.
const SWEEP = sql(
  'updates_sweep_directory',
  `with looked as (
    select user_nid, user_id, local from directory_users where user_nid > $1 order by user_nid limit $2
  ), removed as (
    delete from directory_users d using looked l where d.user_nid = l.user_nid and case when l.local
      then not exists (select 1 from accounts a where a.user_id = l.user_id and not a.deactivated and not a.is_guest)
      else not exists (select 1 from member m where m.user_nid = l.user_nid and m.membership = 1) end
  )
  select count(*)::int as items, max(user_nid)::int as after from looked`,
);
const SWEEP_ROOMS = sql(
  'updates_sweep_directory_rooms',
  'delete from directory_rooms d where not exists (select 1 from rooms r where r.nid = d.room and not r.gone)',
);

/** Numbers of rooms, in their order, after one. */
export const roomsAfter = async (database: Database, after: number, limit: number): Promise<readonly number[]> =>
  (await database.query<{ nid: number }>(ROOMS, [after, limit])).map(({ nid }) => nid);

/** Accounts in the order of their ids, after one. */
export const accountsAfter = async (database: Database, after: string, limit: number): Promise<readonly string[]> =>
  (await database.query<{ userId: string }>(USERS, [after, limit])).map(({ userId }) => userId);

/**
 * Checks some entries of the user directory, and deletes those of accounts that do not exist any more and of users who are in no room.
 *
 * @returns how many were looked at, and the number of the last; null at the end
 */
export const sweepDirectoryUsers = async (
  database: Database,
  after: number,
  limit: number,
): Promise<{ readonly items: number; readonly after: number | null }> =>
  (await database.query<{ items: number; after: number | null }>(SWEEP, [after, limit]))[0] ?? {
    items: 0,
    after: null,
  };

/** Deletes entries of the user directory for rooms that do not exist any more. */
export const sweepDirectoryRooms = async (database: Database): Promise<void> => {
  await database.query(SWEEP_ROOMS, []);
};
