import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** A room that is listed in the directory. */
export interface ListedRecord {
  readonly nid: number;
  readonly version: string;
  readonly room_type: string | null;
  /** How many are in it. */
  readonly joined: number;
}

const LISTED = sql(
  'directory_listed',
  `select r.nid, r.version, r.room_type, (select count(*) from member m where m.room = r.nid and m.membership = 1)::int as joined
   from rooms r where r.is_public`,
);
const SET_LISTED = sql('directory_set_listed', 'update rooms set is_public = $2 where nid = $1');

export const listedRooms = (database: Database): Promise<ListedRecord[]> => database.query<ListedRecord>(LISTED);

export const setListed = async (database: Database, room: number, isListed: boolean): Promise<void> => {
  await database.query(SET_LISTED, [room, isListed]);
};
