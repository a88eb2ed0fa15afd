import type { Database } from '../database.ts';
import { sql } from '../statement.ts';
import { EVENT_COLUMNS, type EventRecord } from '../room-model/event-reads.ts';

/** A sticky event as it lies in the database. */
export interface StickyRecord extends EventRecord {
  /** The position by which it is delivered; null as long as it is soft-failed. */
  readonly pos: number | null;
  /** Milliseconds since the epoch. */
  readonly expires: number;
}

const ROOMS = sql('sticky_rooms', 'select distinct room from sticky_events where expires > $1');
const OF_ROOMS = sql(
  'sticky_of_rooms',
  `select s.pos, s.expires, ${EVENT_COLUMNS} from sticky_events s join events e on e.room = s.room and e.nid = s.event
   where s.room = any($1::int[]) and s.expires > $2 order by s.pos, s.event`,
);
const EXPIRED = sql(
  'clean_sticky_events',
  `delete from sticky_events
   where ctid = any(array(select ctid from sticky_events where expires <= $1 limit $2)) returning 1`,
);

/** The rooms that have sticky events which expire after `now`. */
export const stickyRooms = async (database: Database, now: number): Promise<number[]> =>
  (await database.query<{ room: number }>(ROOMS, [now])).map((row) => row.room);

/** The sticky events of rooms which expire after `now`, by position. */
export const stickyOfRooms = (database: Database, rooms: readonly number[], now: number): Promise<StickyRecord[]> =>
  database.query<StickyRecord>(OF_ROOMS, [rooms, now]);

/** Deletes up to `limit` rows of what has expired. @returns how many */
export const deleteExpiredSticky = async (database: Database, now: number, limit: number): Promise<number> =>
  (await database.query(EXPIRED, [now, limit])).length;
