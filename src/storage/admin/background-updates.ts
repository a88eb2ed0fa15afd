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

// By the index of relations: so many are looked at, of whatever type.
const RELATIONS = sql(
  'updates_relations',
  `with looked as materialized (
     select rel, topo, nid, room, rel_type, annotation, redacted_by from events
     where rel is not null and (rel, topo, nid, room) > ($2, $3, $4, $5) order by rel, topo, nid, room limit $6
   )
   select (select count(*)::int from looked) as items,
     (select concat_ws(' ', rel, topo, nid, room) from looked order by rel desc, topo desc, nid desc, room desc limit 1) as last,
     coalesce((select json_agg(json_build_object('room', e.room, 'nid', e.nid, 'json', e.json)) from looked l
       join events e on e.room = l.room and e.nid = l.nid
       where l.annotation is null and l.redacted_by is null and l.rel_type = (select nid from strings where s = $1)), '[]') as annotations`,
);
// What was redacted meanwhile says nothing any more.
const NAME_ANNOTATIONS = sql(
  'updates_name_annotations',
  `update events e set annotation = r.annotation
   from unnest($1::int[], $2::bigint[], $3::bigint[]) as r (room, nid, annotation)
   where e.room = r.room and e.nid = r.nid and e.annotation is null and e.redacted_by is null`,
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

const LEAST = '-9223372036854775808';

/** Where a walk over all relations continues. Until there was an index by their places, it stood at the position of an event that is related to. */
const walked = (after: string): readonly string[] => {
  const [rel = '', ...place] = after.split(' ');
  return place.length === 3 ? [rel, ...place] : [rel === '' ? LEAST : rel, '-1', LEAST, '0'];
};

/**
 * Looks at some relations, in the order of their targets.
 *
 * @param after the `last` of those before; the empty text at first
 * @returns how many were looked at, and those of them that are annotations without a number for what they say
 */
export const relationsAfter = async (
  database: Database,
  type: string,
  after: string,
  limit: number,
): Promise<{
  readonly items: number;
  readonly last: string | undefined;
  readonly annotations: readonly { readonly room: number; readonly nid: number; readonly json: string }[];
}> => {
  const [found] = await database.query<{
    items: number;
    last: string | null;
    annotations: { readonly room: number; readonly nid: number; readonly json: string }[];
  }>(RELATIONS, [type, ...walked(after), limit]);
  return { items: found?.items ?? 0, last: found?.last ?? undefined, annotations: found?.annotations ?? [] };
};

const PLACED = sql(
  'updates_relations_placed',
  `select indisvalid as valid from pg_index where indexrelid = to_regclass('events_relations_placed')`,
);

/**
 * Makes the index by which what relates to an event is read in topological order, in the place of the one before it. The table can be read and
 * written meanwhile. An index that was not finished is made anew.
 */
export const placeRelations = async (database: Database): Promise<void> => {
  const [made] = await database.query<{ valid: boolean }>(PLACED, []);
  if (made?.valid === false) await database.maintain([], 'drop index concurrently if exists events_relations_placed');
  if (made?.valid !== true)
    await database.maintain(
      [],
      'create index concurrently events_relations_placed on events (rel, topo, nid) where rel is not null',
    );
  await database.maintain([], 'drop index concurrently if exists events_relations');
};

/** Stores what annotations say, where nothing is stored. */
export const nameAnnotations = async (
  database: Database,
  named: readonly { readonly room: number; readonly nid: number; readonly annotation: number }[],
): Promise<void> => {
  if (named.length === 0) return;
  const columns = [named.map(({ room }) => room), named.map(({ nid }) => nid), named.map((one) => one.annotation)];
  await database.query(NAME_ANNOTATIONS, columns);
};
