import type { Database } from '../database.ts';
import { sql } from '../statement.ts';
import type { RoomStubRecord } from './room-rows.ts';

/** A row of the table of memberships: the current one of a user in a room, past members included. */
export interface MemberRecord {
  readonly room: number;
  readonly user_nid: number;
  /** As `membershipCode` codes it. */
  readonly membership: number;
  readonly event: number;
  readonly since: number;
  readonly local: boolean;
  readonly forgotten: boolean;
}

const MEMBERS_OF_ROOM = sql(
  'members_of_room',
  'select room, user_nid, membership, event, since, local, forgotten from member where room = any($1::int[])',
);

const ROOMS_OF_USER = sql(
  'rooms_of_user',
  'select room, user_nid, membership, event, since, local, forgotten from member where user_nid = $1',
);

const ROOMS_IN_SYNC = sql(
  'rooms_in_sync_of_user',
  `select m.room, m.user_nid, m.membership, m.event, m.since, m.local, m.forgotten,
     r.nid, r.room_id, r.version, r.shard, t.last_pos, p.state as partial_state, p.join_pos, p.via, p.servers, p.before, p.full_pos
   from member m left join rooms r on m.membership = 1 and r.nid = m.room and not r.gone
     left join room_tail t on t.room = r.nid left join partial_rooms p on p.room = r.nid
   where m.user_nid = $1`,
);

const FORGET = sql(
  'member_forget',
  'update member set forgotten = true where room = $1 and user_nid = $2 and membership <> 1',
);

/** All memberships in rooms. */
export const membersOfRooms = (database: Database, rooms: readonly number[]): Promise<MemberRecord[]> =>
  database.query<MemberRecord>(MEMBERS_OF_ROOM, [rooms]);

/** All memberships of a user. */
export const roomsOfUser = (database: Database, user: number): Promise<MemberRecord[]> =>
  database.query<MemberRecord>(ROOMS_OF_USER, [user]);

/** All memberships of a user, with what is asked of the rooms that they are in. */
export const roomsInSync = (
  database: Database,
  user: number,
): Promise<(MemberRecord & { [Name in keyof RoomStubRecord]: RoomStubRecord[Name] | null })[]> =>
  database.query(ROOMS_IN_SYNC, [user]);

/** Marks a left room as forgotten. */
export const forgetRoom = async (database: Database, room: number, user: number): Promise<void> => {
  await database.query(FORGET, [room, user]);
};
