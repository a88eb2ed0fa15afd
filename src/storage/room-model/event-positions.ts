import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** The position of an event. */
export interface EventPosition {
  readonly event_id: Buffer;
  readonly nid: number;
  readonly room: number;
  readonly flags: number;
}

const NIDS_BY_ID = sql(
  'event_nids_by_id',
  'select event_id, nid, room, flags from events where event_id = any($1::bytea[])',
);

const IDS_BY_NID = sql(
  'event_ids_by_nid',
  'select nid, event_id from events where room = $1 and nid = any($2::bigint[])',
);

const EVENT_EXISTS = sql('event_exists', 'select 1 from events where room = $1 and nid = $2');

/** Where events are. What is unknown is left out. */
export const positionsById = (database: Database, eventIds: readonly Buffer[]): Promise<EventPosition[]> =>
  database.query(NIDS_BY_ID, [eventIds]);

/** The ids of events. */
export const idsByNid = (
  database: Database,
  room: number,
  nids: readonly number[],
): Promise<{ nid: number; event_id: Buffer }[]> => database.query(IDS_BY_NID, [room, nids]);

/** Whether a batch that this event was part of has been committed. */
export const eventExists = async (database: Database, room: number, nid: number): Promise<boolean> =>
  (await database.query(EVENT_EXISTS, [room, nid])).length > 0;
