import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** The row of a room, with the newest event, the state and the depth that it has by now. The room model is loaded from it. */
export interface RoomRecord {
  readonly nid: number;
  readonly room_id: string;
  readonly version: string;
  readonly shard: number;
  readonly creator: number;
  readonly room_type: string | null;
  readonly is_public: boolean;
  readonly extremities: readonly number[];
  readonly state: number;
  readonly depth: number;
  readonly last_pos: number;
  /** From `partial_rooms`; null for rooms with full state. */
  readonly partial_state: number | null;
  readonly join_pos: number | null;
  readonly via: string | null;
  readonly servers: string | null;
  readonly before: string | null;
  readonly full_pos: number | null;
}

/** What is asked of a room to know whether there is news in it. */
export type RoomStubRecord = Pick<
  RoomRecord,
  | 'nid'
  | 'room_id'
  | 'version'
  | 'shard'
  | 'last_pos'
  | 'partial_state'
  | 'join_pos'
  | 'via'
  | 'servers'
  | 'before'
  | 'full_pos'
>;

const ROOM_COLUMNS = `r.nid, r.room_id, r.version, r.shard, r.creator, r.room_type, r.is_public,
  t.extremities, t.state, t.depth, t.last_pos, p.state as partial_state, p.join_pos, p.via, p.servers, p.before, p.full_pos`;

const ROOMS = 'rooms r join room_tail t on t.room = r.nid left join partial_rooms p on p.room = r.nid';

const ROOMS_BY_NID = sql(
  'rooms_by_nid',
  `select ${ROOM_COLUMNS} from ${ROOMS} where r.nid = any($1::int[]) and not r.gone`,
);

const RESERVE_ROOMS = sql(
  'rooms_reserve',
  `select nextval('rooms_nid_seq')::int as nid from generate_series(1, $1::int)`,
);

/** Rooms by their numbers. Unknown and deleted ones are left out. */
export const roomsByNid = (database: Database, nids: readonly number[]): Promise<RoomRecord[]> =>
  database.query<RoomRecord>(ROOMS_BY_NID, [nids]);

/** Reserves room numbers, so that a new room's row is written together with its first events. */
export const reserveRoomNids = async (database: Database, count: number): Promise<number[]> =>
  (await database.query<{ nid: number }>(RESERVE_ROOMS, [count])).map((row) => row.nid);
