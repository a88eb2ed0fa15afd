import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';

const GONE_ROOM = sql('gone_room', 'select nid from rooms where room_id = $1 and gone');
const VANISH = sql(
  'room_vanish',
  `with room as (
     update rooms set gone = true, is_public = false where nid = $1
   ), members as (
     delete from member where room = $1 and local
   ), names as (
     delete from aliases where room = $1
   ), people as (
     delete from directory_rooms where room = $1
   ) delete from room_overviews where room = $1`,
);

/** Tables with many rows of a room, found by its number. Events are purged separately, and last. */
const LARGE = ['receipts', 'member', 'search_docs', 'missing_prev', 'awaited_relations', 'sticky_events'] as const;
const BY_ROOM = LARGE.map((table) =>
  sql(
    `room_purge_${table}`,
    `delete from ${table} where ctid = any(array(select ctid from ${table} where room = $1 limit $2)) returning 1`,
  ),
);
const STATES = sql(
  'room_purge_states',
  `delete from state_delta where ctid = any(array(select ctid from state_delta where room = $1 limit $2)) returning 1`,
);
/** Rows of users about a room are indexed by user: they are searched for some users at a time. */
const OF_USERS = sql(
  'room_purge_of_users',
  `with data as (
     delete from account_data where user_nid > $2 and user_nid <= $3 and room = $1
   ), tags as (
     delete from room_tags where user_nid > $2 and user_nid <= $3 and room = $1
   ), mentions as (
     delete from mention where user_nid > $2 and user_nid <= $3 and room = $1
   ) delete from thread_subscriptions where user_nid > $2 and user_nid <= $3 and room = $1`,
);
const LAST_USER = sql('room_purge_last_user', 'select coalesce(max(nid), 0) as nid from users');
/** Tables that are small on every server. */
const FEW = sql(
  'room_purge_few',
  `with inbound as (
     delete from inbound_events where room = $1
   ), outbound as (
     delete from destination_rooms where room = $1
   ), pushed as (
     delete from pushes where room = $1
   ), aside as (
     delete from events_set_aside where room = $1
   ), resets as (
     delete from state_resets where room = $1
   ), purges as (
     delete from room_purges where room = $1
   ), partial as (
     delete from partial_rooms where room = $1
   ), redactions as (
     delete from awaited_redactions where room = $1
   ), networks as (
     delete from appservice_rooms where room = $1
   ), notices as (
     delete from server_notice_rooms where room_id = $2
   ), delayed as (
     delete from delayed_events where room_id = $2
   ), digests as (
     delete from mail_digest_rooms where room_id = $2
   ), invites as (
     delete from third_party_invites where room_id = $2
   ) delete from reports where room_id = $2`,
);
const EVENTS = sql(
  'room_purge_events',
  `delete from events where room = $1 and nid = any(array(select nid from events where room = $1 and nid > $2 order by nid limit $3))
   returning nid`,
);
const FORGET = sql('room_purge_row', 'delete from rooms where nid = $1 and gone');
// Followers of the room's events are a moment behind, and may have written something since.
const REST = sql(
  'room_purge_rest',
  `with tail as (
     delete from room_tail where room = $1
   ), docs as (
     delete from search_docs where room = $1
   ), late as (
     delete from events where room = $1
   ), outbound as (
     delete from destination_rooms where room = $1
   ), people as (
     delete from directory_rooms where room = $1
   ) delete from room_overviews where room = $1`,
);

/** The number of a room that is being deleted. */
export const goneRoomNid = async (database: Database, roomId: string): Promise<number | undefined> =>
  (await database.query<{ nid: number }>(GONE_ROOM, [roomId]))[0]?.nid;

/** Hides a room: it is in no list, has no alias, and users of this server have no membership in it. */
export const vanishRoom = async (tx: Tx, room: number): Promise<void> => {
  await tx.query(VANISH, [room]);
};

/** How many steps `purgeRows` has. */
export const PURGED_TABLES = BY_ROOM.length;

/** Deletes rows of a room from one of the tables, `limit` at most. @returns how many there were */
export const purgeRows = async (database: Database, table: number, room: number, limit: number): Promise<number> => {
  const statement = BY_ROOM[table];
  return statement === undefined ? 0 : (await database.query(statement, [room, limit])).length;
};

/** Deletes states of a room, `limit` at most. @returns how many there were */
export const purgeStates = async (database: Database, room: number, limit: number): Promise<number> =>
  (await database.query(STATES, [room, limit])).length;

/** Deletes the rows about a room of users with numbers above `after`, up to `upTo`. */
export const purgeOfUsers = async (database: Database, room: number, after: number, upTo: number): Promise<void> => {
  await database.query(OF_USERS, [room, after, upTo]);
};

/** The largest number that a user has. */
export const lastUserNid = async (database: Database): Promise<number> =>
  (await database.query<{ nid: number }>(LAST_USER))[0]?.nid ?? 0;

/** Deletes the rows in small tables. */
export const purgeFew = async (database: Database, room: number, roomId: string): Promise<void> => {
  await database.query(FEW, [room, roomId]);
};

/** Deletes the first events of a room after a position, `limit` at most. @returns their positions, in no order */
export const purgeEventsAfter = async (
  database: Database,
  room: number,
  after: number,
  limit: number,
): Promise<number[]> => (await database.query<{ nid: number }>(EVENTS, [room, after, limit])).map(({ nid }) => nid);

/** Deletes the row of the room itself, last of all. */
export const forgetGoneRoom = async (tx: Tx, room: number): Promise<void> => {
  await tx.query(FORGET, [room]);
  await tx.query(REST, [room]);
};
