import type { Database } from '../database.ts';
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
  'insert into aliases (alias, room, creator, created_ts) values ($1, $2, $3, $4) on conflict do nothing returning alias',
);
const DELETE = sql('alias_delete', 'delete from aliases where alias = $1 and room = $2 returning alias');
const MOVE = sql('aliases_move', 'update aliases set room = $2 where room = $1 returning alias');

export const aliasByName = async (database: Database, alias: string): Promise<AliasRecord | undefined> =>
  (await database.query<AliasRecord>(ALIAS, [alias]))[0];

/** The aliases of a room, oldest first. */
export const aliasesOfRoom = async (database: Database, room: number): Promise<string[]> =>
  (await database.query<{ alias: string }>(ALIASES_OF_ROOM, [room])).map((row) => row.alias);

/** @returns whether it was free */
export const insertAlias = async (
  database: Database,
  alias: { readonly alias: string; readonly room: number; readonly creator: string; readonly createdTs: number },
): Promise<boolean> =>
  (await database.query(INSERT, [alias.alias, alias.room, alias.creator, alias.createdTs])).length > 0;

/** Gives all aliases of one room to another. @returns these aliases */
export const moveAliases = async (database: Database, from: number, to: number): Promise<string[]> =>
  (await database.query<{ alias: string }>(MOVE, [from, to])).map((row) => row.alias);

/** @returns whether it was there */
export const deleteAlias = async (database: Database, alias: string, room: number): Promise<boolean> =>
  (await database.query(DELETE, [alias, room])).length > 0;
