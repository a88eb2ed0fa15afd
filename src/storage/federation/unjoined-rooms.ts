import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** A room that is new to this server. */
export interface UnjoinedRoomRow {
  readonly roomId: string;
  readonly version: string;
  readonly shard: number;
  readonly creator: number;
  readonly roomType: string | null;
  readonly createdTs: number;
}

const ADD_ROOM = sql(
  'outside_room_add',
  `with r as (
     insert into rooms (room_id, version, shard, creator, room_type, is_public, created_ts) values ($1, $2, $3, $4, $5, false, $6)
     on conflict (room_id) do nothing returning nid
   ) insert into room_tail (room, extremities, state, depth, last_pos) select nid, '{}', 0, 0, 0 from r`,
);

/** Creates the row of a room that this server is not in; does nothing where there is one. */
export const addUnjoinedRoom = async (database: Database, row: UnjoinedRoomRow): Promise<void> => {
  const { roomId, version, shard, creator, roomType, createdTs } = row;
  await database.query(ADD_ROOM, [roomId, version, shard, creator, roomType, createdTs]);
};

const SETTLE_ROOM = sql(
  'outside_room_settle',
  'update rooms set version = $2, creator = $3, room_type = $4 where nid = $1',
);

/** Stores version and creator of a room when this server joins it. */
export const settleUnjoinedRoom = async (
  database: Database,
  room: number,
  { version, creator, roomType }: Pick<UnjoinedRoomRow, 'version' | 'creator' | 'roomType'>,
): Promise<void> => {
  await database.query(SETTLE_ROOM, [room, version, creator, roomType]);
};

const SETTLE_EVENT = sql(
  'outside_event_settle',
  `update events e set json = $3, auth = array(
     select a.nid from unnest($4::bytea[]) with ordinality u(id, place) join events a on a.event_id = u.id and a.room = $1 order by u.place
   ) where e.room = $1 and e.nid = $2 and e.flags & ${EVENT_FLAGS.outOfBand} <> 0`,
);

/** Makes an event that was stored out of band one of the room's: as it was signed, and with the events that authorise it. */
export const settleOutOfBandEvent = async (
  database: Database,
  event: { readonly room: number; readonly nid: number; readonly json: string; readonly auth: readonly Buffer[] },
): Promise<void> => {
  await database.query(SETTLE_EVENT, [event.room, event.nid, event.json, event.auth]);
};

const PENDING_INVITES = sql(
  'outside_invites_pending',
  `select count(*)::int as count from (
     select 1 from users u join member m on m.user_nid = u.nid and m.membership = 2 where u.user_id = $1 limit $2
   ) i`,
);

/** How many invites wait for a user, counted up to a number. */
export const pendingInvites = async (database: Database, userId: string, upTo: number): Promise<number> =>
  (await database.query<{ count: number }>(PENDING_INVITES, [userId, upTo]))[0]?.count ?? 0;

/** A room without state in which nobody is invited or knocks, and has not since a time: `$1` says which are looked at, `$2` the time. */
const IS_UNUSED = `r.created_ts < $2 and t.state = 0 and t.extremities = '{}'
   and not exists (select 1 from member m where m.room = r.nid and m.local and m.membership <> 4)
   and not exists (select 1 from events e where e.room = r.nid and e.ts >= $2)`;
const UNUSED_ROOMS = sql(
  'unjoined_rooms_unused',
  `select r.nid, r.room_id from rooms r join room_tail t on t.room = r.nid where r.nid > $1 and ${IS_UNUSED} order by r.nid limit $3`,
);

/** Rooms that this server has only heard of, long ago, and in which none of its users has anything to answer; in order from after `room`. */
export const unusedUnjoinedRooms = (
  database: Database,
  query: { readonly room: number; readonly before: number; readonly limit: number },
): Promise<{ nid: number; room_id: string }[]> => database.query(UNUSED_ROOMS, [query.room, query.before, query.limit]);

const DELETE_ROOM = sql(
  'outside_room_delete',
  `with gone as (
     delete from rooms r using room_tail t where r.nid = $1 and t.room = r.nid and ${IS_UNUSED} returning r.nid
   ), tails as (delete from room_tail t using gone g where t.room = g.nid),
   members as (delete from member m using gone g where m.room = g.nid),
   partials as (delete from partial_rooms p using gone g where p.room = g.nid),
   mentions as (delete from mention m using gone g where m.room = g.nid)
   delete from events e using gone g where e.room = g.nid`,
);

/** Deletes such a room, unless a user was invited to it meanwhile. */
export const deleteUnjoinedRoom = async (database: Database, room: number, before: number): Promise<void> => {
  await database.query(DELETE_ROOM, [room, before]);
};
