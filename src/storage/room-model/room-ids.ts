import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';

const MUTUAL = sql(
  'rooms_mutual',
  `select r.nid, r.room_id from users u join users v on v.user_id = $2
   join member a on a.user_nid = u.nid and a.membership = 1
   join member b on b.user_nid = v.nid and b.membership = 1 and b.room = a.room
   join rooms r on r.nid = a.room
   where u.user_id = $1 order by r.nid`,
);

/** The rooms that two users share, in the order in which this server first knew them. */
export const mutualRooms = (
  database: Database,
  one: string,
  other: string,
): Promise<{ nid: number; room_id: string }[]> => database.query(MUTUAL, [one, other]);

const NIDS = sql('room_nids_by_id', 'select nid from rooms where room_id = any($1::text[])');

/** The numbers of those of these rooms that are known here. */
export const roomNidsOf = async (reader: Database | Tx, roomIds: readonly string[]): Promise<number[]> =>
  (await reader.query<{ nid: number }>(NIDS, [roomIds])).map(({ nid }) => nid);

const NIDS_BY_ID = sql(
  'room_numbers_by_id',
  `select r.room_id, r.nid from rooms r join room_tail t on t.room = r.nid where r.room_id = any($1::text[]) and not r.gone`,
);

/** The numbers of rooms by their ids. Rooms that are unknown, or being deleted, are left out. */
export const roomNumbersById = async (
  database: Database,
  roomIds: readonly string[],
): Promise<ReadonlyMap<string, number>> =>
  new Map(
    (await database.query<{ nid: number; room_id: string }>(NIDS_BY_ID, [roomIds])).map(({ nid, room_id: id }) => [
      id,
      nid,
    ]),
  );

const IDS = sql('room_ids_by_nid', 'select nid, room_id from rooms where nid = any($1::int[])');

/** The ids of rooms by their numbers. */
export const roomIdsByNid = async (database: Database, nids: readonly number[]): Promise<ReadonlyMap<number, string>> =>
  new Map(
    (await database.query<{ nid: number; room_id: string }>(IDS, [nids])).map(({ nid, room_id: id }) => [nid, id]),
  );
