import type { Database, Tx } from '../database.ts';
import { sql, UNHURRIED } from '../statement.ts';
import type { PositionVector } from '#src/protocol/wire/position.ts';
import { EVENT_COLUMNS, type EventRecord } from '../room-model/event-reads.ts';

/** The progress of a follower of the events of one shard. */
export interface FollowerCursor {
  readonly shard: number;
  /** Everything up to here is processed. */
  readonly pos: number;
  /** Until where it catches up, room by room; null when it does not. */
  readonly goal: number | null;
  /** The last room that is done up to `goal`. */
  readonly room: number | null;
}

const CURSORS = sql('follower_cursors', 'select shard, pos, goal, room from event_followers where name = $1');
const UPDATE = `on conflict (name, shard) do update
   set pos = greatest(event_followers.pos, excluded.pos), goal = excluded.goal, room = excluded.room`;
const SAVE = sql(
  'follower_save',
  `insert into event_followers (name, shard, pos, goal, room)
   select $1, c.* from unnest($2::smallint[], $3::bigint[], $4::bigint[], $5::int[]) c(shard, pos, goal, room) ${UPDATE}`,
);
const NOTE = sql(
  'follower_note',
  `with ${UNHURRIED}
   insert into event_followers (name, shard, pos, goal, room)
   select $1, c.shard, c.pos, c.goal, c.room
   from unhurried, unnest($2::smallint[], $3::bigint[], $4::bigint[], $5::int[], $6::bigint[], $7::int[])
     c(shard, pos, goal, room, noted_pos, noted_room)
   where c.noted_pos is null or exists (
     select 1 from event_followers f where f.name = $1 and f.shard = c.shard
       and (f.pos, coalesce(f.room, 0)) >= (c.noted_pos, coalesce(c.noted_room, 0)))
   ${UPDATE} returning shard`,
);
const ROOMS_BEHIND = sql(
  'follower_rooms_behind',
  `select r.nid from rooms r join room_tail t on t.room = r.nid
   where r.shard = $1 and r.nid > $2 and t.last_pos > $3 order by r.nid limit $4`,
);
const EVENTS_AFTER = sql(
  'follower_events_after',
  `select ${EVENT_COLUMNS} from events e where e.room = $1 and e.nid > $2 and e.nid <= $3
   and ($4::int[] is null or e.type = any($4::int[])) order by e.nid limit $5`,
);
const EVENTS_CONTAINING = sql(
  'follower_events_containing',
  `select ${EVENT_COLUMNS} from events e where e.room = $1 and e.nid > $2 and e.nid <= $3
     and (e.type = any($4::int[]) or strpos(e.json, $6) > 0) order by e.nid limit $5`,
);

export const followerCursors = (database: Database, name: string): Promise<FollowerCursor[]> =>
  database.query<FollowerCursor>(CURSORS, [name]);

/** The cursors of a follower that has processed everything up to these positions. */
export const cursorsAt = (positions: PositionVector): readonly FollowerCursor[] =>
  positions.map((pos, shard) => ({ shard, pos, goal: null, room: null }));

const valuesOf = (name: string, cursors: readonly FollowerCursor[]): unknown[] => [
  name,
  cursors.map((cursor) => cursor.shard),
  cursors.map((cursor) => cursor.pos),
  cursors.map((cursor) => cursor.goal),
  cursors.map((cursor) => cursor.room),
];

export const saveFollowerCursors = async (
  database: Database | Tx,
  name: string,
  cursors: readonly FollowerCursor[],
): Promise<void> => {
  await database.query(SAVE, valuesOf(name, cursors));
};

/**
 * The same without waiting for the disk: a follower whose cursor is lost when PostgreSQL crashes processes some events again.
 *
 * @param noted by shard, what was noted last; what is behind it in the database is left there: a crash took what was
 *   noted, and what was written for the events up to there may be gone as well
 * @returns whether no shard was behind
 */
export const noteFollowerCursors = async (
  database: Database,
  name: string,
  cursors: readonly FollowerCursor[],
  noted: ReadonlyMap<number, FollowerCursor>,
): Promise<boolean> => {
  const before = cursors.map(({ shard }) => noted.get(shard));
  const values = [before.map((cursor) => cursor?.pos ?? null), before.map((cursor) => cursor?.room ?? null)];
  const rows = await database.query(NOTE, [...valuesOf(name, cursors), ...values]);
  return rows.length === cursors.length;
};

export interface RoomsBehind {
  readonly shard: number;
  readonly room: number;
  readonly after: number;
  readonly limit: number;
}

/** Rooms of a shard, in order from after `room`, in which something came after a position, in pages of `limit`. */
export async function* pagesOfRoomsBehind(database: Database, first: RoomsBehind): AsyncGenerator<readonly number[]> {
  for (let query = first; ;) {
    const page = await roomsBehind(database, query);
    const last = page.at(-1);
    if (last === undefined) return;
    yield page;
    if (page.length < query.limit) return;
    query = { ...query, room: last };
  }
}

/** One page of them. */
export const roomsBehind = async (database: Database, query: RoomsBehind): Promise<number[]> =>
  (await database.query<{ nid: number }>(ROOMS_BEHIND, [query.shard, query.room, query.after, query.limit])).map(
    (row) => row.nid,
  );

/** Events of some types, or with some text in them, with `after` < position <= `upTo`, oldest first. */
export const eventsAfter = (
  database: Database,
  query: {
    readonly room: number;
    readonly after: number;
    readonly upTo: number;
    /** All when left out. */
    readonly types?: readonly number[] | undefined;
    readonly containing?: string | undefined;
    readonly limit: number;
  },
): Promise<EventRecord[]> => {
  const { room, after, upTo, types, containing, limit } = query;
  const values = [room, after, upTo, types ?? null, limit];
  return containing === undefined
    ? database.query<EventRecord>(EVENTS_AFTER, values)
    : database.query<EventRecord>(EVENTS_CONTAINING, [...values, containing]);
};
