import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

export interface AccountDataRecord {
  /** 0 for global account data. */
  readonly room: number;
  readonly type: string;
  /** JSON. */
  readonly content: string;
  readonly pos: number;
}

/** A tag of a room. */
export interface TagRecord {
  readonly tag: string;
  /** JSON. */
  readonly content: string;
}

/** How much is kept for a user. */
export interface Usage {
  readonly pieces: number;
  readonly bytes: number;
}

const OF_USER = sql(
  'account_data_of_user',
  'select room, type, content, pos from account_data where user_nid = $1 order by pos',
);
const TAGS_OF_USER = sql('room_tags_of_user', 'select room, tag, content from room_tags where user_nid = $1');
const PIECE = sql(
  'account_data_piece',
  'select room, type, content, pos from account_data where user_nid = $1 and room = $2 and type = $3',
);
const TAGS_OF_ROOM = sql('room_tags_of_room', 'select tag, content from room_tags where user_nid = $1 and room = $2');
const USAGE = sql(
  'account_data_usage',
  `select count(*)::int as pieces, coalesce(sum(bytes), 0)::bigint as bytes from (
    select octet_length(type) + octet_length(content) as bytes from account_data where user_nid = $1 and type <> all($2::text[])
    union all select octet_length(tag) + octet_length(content) from room_tags where user_nid = $1
  ) p`,
);

/** All account data of a user, the oldest change first; what is kept as rows of its own is not in the contents. */
export const accountDataOfUser = (database: Database, user: number): Promise<AccountDataRecord[]> =>
  database.query<AccountDataRecord>(OF_USER, [user]);

/** All tags that a user gave rooms. */
export const tagsOfUser = (database: Database, user: number): Promise<(TagRecord & { readonly room: number })[]> =>
  database.query(TAGS_OF_USER, [user]);

/** One piece of account data. */
export const accountDataPiece = async (
  database: Database,
  user: number,
  room: number,
  type: string,
): Promise<AccountDataRecord | undefined> => (await database.query<AccountDataRecord>(PIECE, [user, room, type]))[0];

/** The tags that a user gave a room. */
export const tagsOfRoom = (database: Database, user: number, room: number): Promise<TagRecord[]> =>
  database.query<TagRecord>(TAGS_OF_ROOM, [user, room]);

/** How much account data a user has, tags included. @param without types that do not count */
export const accountDataUsage = async (database: Database, user: number, without: readonly string[]): Promise<Usage> =>
  (await database.query<Usage>(USAGE, [user, without]))[0] ?? { pieces: 0, bytes: 0 };
