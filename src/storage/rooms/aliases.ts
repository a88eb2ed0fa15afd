import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';

export interface AliasRecord {
  readonly alias: string;
  readonly room: number;
  readonly room_id: string;
  readonly creator: string;
}

const COLUMNS = 'a.alias, a.room, r.room_id, a.creator';
const ALIAS = sql(
  'alias_by_name',
  `select ${COLUMNS} from aliases a join rooms r on r.nid = a.room where a.alias = $1`,
);
const ALIASES_OF_ROOM = sql('aliases_of_room', 'select alias from aliases where room = $1 order by created_ts, alias');
const INSERT = sql(
  'alias_insert',
  `with there as (
    select count(*) as aliases from aliases where room = $2
  ), made as (
    insert into aliases (alias, room, creator, created_ts) select $1, $2, $3, $4 from there where aliases < $5
    on conflict do nothing returning alias
  ) select exists (select 1 from made) as made, aliases < $5 as has_space from there`,
);
const DELETE = sql('alias_delete', 'delete from aliases where alias = $1 and room = $2 returning alias');
const COUNT_OF_CREATOR = sql(
  'aliases_of_creator_count',
  'select count(*)::int as count from aliases where creator = $1',
);
const MOVE = sql('aliases_move', 'update aliases set room = $2 where room = $1');

export const aliasByName = async (database: Database, alias: string): Promise<AliasRecord | undefined> =>
  (await database.query<AliasRecord>(ALIAS, [alias]))[0];

/** The aliases of a room, oldest first. */
export const aliasesOfRoom = async (database: Database | Tx, room: number): Promise<string[]> =>
  (await database.query<{ alias: string }>(ALIASES_OF_ROOM, [room])).map((row) => row.alias);

/** How many aliases a user made. */
export const countAliasesOf = async (reader: Database | Tx, creator: string): Promise<number> =>
  (await reader.query<{ count: number }>(COUNT_OF_CREATOR, [creator]))[0]?.count ?? 0;

/** @param most how many a room may have */
export const insertAlias = async (
  tx: Tx,
  alias: { readonly alias: string; readonly room: number; readonly creator: string; readonly createdTs: number },
  most: number,
): Promise<'made' | 'taken' | 'too many'> => {
  const values = [alias.alias, alias.room, alias.creator, alias.createdTs, most];
  const [row] = await tx.query<{ made: boolean; has_space: boolean }>(INSERT, values);
  if (row?.made === true) return 'made';
  return row?.has_space === false ? 'too many' : 'taken';
};

/** Gives all aliases of one room to another. */
export const moveAliases = async (database: Database | Tx, from: number, to: number): Promise<void> => {
  await database.query(MOVE, [from, to]);
};

/** @returns whether it was there */
export const deleteAlias = async (database: Database, alias: string, room: number): Promise<boolean> =>
  (await database.query(DELETE, [alias, room])).length > 0;
