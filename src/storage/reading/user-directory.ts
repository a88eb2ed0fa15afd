import type { Database, Tx } from '../database.ts';
import { sql, type Statement, UNHURRIED } from '../statement.ts';
import { arrayLiteral } from '../array-literal.ts';

/** A user as the directory knows them. */
export interface DirectoryUserRow {
  readonly user: number;
  readonly userId: string;
  readonly local: boolean;
  /** JSON, as the profile has it; null for none. */
  readonly displayName: string | null;
  readonly avatarUrl: string | null;
  readonly foldedId: string;
  readonly foldedName: string;
  readonly grams: readonly number[];
}

/** A search for users. */
export interface DirectoryQuery {
  /** User id. */
  readonly searcher: string;
  /** Hashes that users who are found by name have; null when none can be. */
  readonly nameGrams: readonly number[] | null;
  /** Hashes that users who are found by user id have; null when none can be. */
  readonly idGrams: readonly number[] | null;
  /** Everything that name or id have to hold. The empty text stands for what no name holds. */
  readonly terms: readonly { readonly name: string; readonly id: string }[];
  /** Whether all users of this server are found. */
  readonly allLocal: boolean;
  readonly limit: number;
}

export interface FoundUser {
  readonly user_id: string;
  readonly display_name: string | null;
  readonly avatar_url: string | null;
}

const INSERT = `with ${UNHURRIED}
   insert into directory_users (user_nid, user_id, local, display_name, avatar_url, folded_id, folded_name, grams)
   select u.user_nid, u.user_id, u.local, u.display_name, u.avatar_url, u.folded_id, u.folded_name, u.grams::int[]
   from unhurried, unnest($1::int[], $2::text[], $3::boolean[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
     u(user_nid, user_id, local, display_name, avatar_url, folded_id, folded_name, grams)`;
const ADD = sql('directory_add', `${INSERT} on conflict (user_nid) do nothing`);
const UPSERT = sql(
  'directory_upsert',
  `${INSERT} on conflict (user_nid) do update set display_name = excluded.display_name, avatar_url = excluded.avatar_url,
     folded_name = excluded.folded_name, grams = excluded.grams`,
);
// Who is named for the first time, by whatever else was begun meanwhile, gets an integer that this statement cannot see: then nothing is added.
const ADD_NEW = sql(
  'directory_add_new',
  `with made as (
    insert into users (user_id, local) values ($1, true) on conflict (user_id) do nothing returning nid
  )
  insert into directory_users (user_nid, user_id, local, folded_id, folded_name, grams)
  select known.nid, $1, true, $2, '', $3::int[]
  from (select nid from made union all select nid from users where user_id = $1) known
  on conflict (user_nid) do nothing returning user_id`,
);
const REMOVE = sql('directory_remove', 'delete from directory_users where user_id = any($1::text[])');
const ADD_ROOMS = sql(
  'directory_add_rooms',
  `with ${UNHURRIED}
   insert into directory_rooms (room) select nid from unhurried, rooms where nid = any($1::int[]) and not gone on conflict do nothing`,
);
const REMOVE_ROOMS = sql('directory_remove_rooms', 'delete from directory_rooms where room = any($1::int[])');
// Searchers share rooms with others only: they find themselves where everybody finds them.
// A scalar subquery is looked up for each user; as a join, PostgreSQL may compare everybody found with all accounts.
const SEARCH = sql(
  'directory_search',
  `with found as materialized (
    select d.* from directory_users d where d.grams @> $2::int[] or d.grams @> $3::int[]
  ), matching as (
    select d.*, d.user_id <> $1 and exists (
        select 1 from member b join member a on a.room = b.room and a.membership = 1
          and a.user_nid = (select nid from users where user_id = $1)
        where b.user_nid = d.user_nid and b.membership = 1
      ) as shares
    from found d
    where not exists (
        select 1 from unnest($4::text[], $5::text[]) t(name, id)
        where not (t.name <> '' and strpos(d.folded_name, t.name) > 0) and not (t.id <> '' and starts_with(d.folded_id, t.id))
      )
      and not coalesce((select a.deactivated from accounts a where a.user_id = d.user_id), false)
  )
  select d.user_id, d.display_name, d.avatar_url from matching d
  where $6 and d.local or d.shares or exists (
    select 1 from member b join directory_rooms p on p.room = b.room where b.user_nid = d.user_nid and b.membership = 1
  )
  order by case
      when d.folded_name = ($4::text[])[1] or split_part(d.folded_id, ':', 1) = ($5::text[])[1] then 3
      when starts_with(d.folded_name, ($4::text[])[1]) or starts_with(d.folded_id, ($5::text[])[1]) then 2
      when strpos(' ' || d.folded_name, ' ' || ($4::text[])[1]) > 0 then 1
      else 0
    end desc, d.shares desc, d.display_name is null, d.avatar_url is null, d.user_id collate "C"
  limit $7`,
);

/** Adds users, or brings their names up to date. */
export const upsertDirectoryUsers = (database: Database, users: readonly DirectoryUserRow[]): Promise<void> =>
  write(database, UPSERT, users);

/** Adds users; those that are there stay as they are. */
export const addDirectoryUsers = (database: Database, users: readonly DirectoryUserRow[]): Promise<void> =>
  write(database, ADD, users);

const write = async (database: Database, statement: Statement, users: readonly DirectoryUserRow[]): Promise<void> => {
  if (users.length === 0) return;
  // All who write several at once lock them in the same order.
  const rows = users.toSorted((a, b) => a.user - b.user);
  await database.query(statement, [
    rows.map((row) => row.user),
    rows.map((row) => row.userId),
    rows.map((row) => row.local),
    rows.map((row) => row.displayName),
    rows.map((row) => row.avatarUrl),
    rows.map((row) => row.foldedId),
    rows.map((row) => row.foldedName),
    rows.map((row) => arrayLiteral(row.grams)),
  ]);
};

/**
 * Adds a user of this server who has just got an account, and so no name.
 *
 * @returns false when the user was named first by something that is under way
 */
export const addNewDirectoryUser = async (
  tx: Tx,
  user: Pick<DirectoryUserRow, 'userId' | 'foldedId' | 'grams'>,
): Promise<boolean> => (await tx.query(ADD_NEW, [user.userId, user.foldedId, arrayLiteral(user.grams)])).length > 0;

export const removeDirectoryUsers = async (database: Database, userIds: readonly string[]): Promise<void> => {
  await database.query(REMOVE, [userIds]);
};

/** Says of rooms whether every user may find their members. */
export const setDirectoryRooms = async (
  database: Database,
  open: readonly number[],
  closed: readonly number[],
): Promise<void> => {
  if (open.length > 0) await database.query(ADD_ROOMS, [open]);
  if (closed.length > 0) await database.query(REMOVE_ROOMS, [closed]);
};
/** Users whom the searcher may find, the best matches first. */
export const searchDirectory = (database: Database, query: DirectoryQuery): Promise<FoundUser[]> =>
  database.query<FoundUser>(SEARCH, [
    query.searcher,
    query.nameGrams,
    query.idGrams,
    query.terms.map((term) => term.name),
    query.terms.map((term) => term.id),
    query.allLocal,
    query.limit,
  ]);
