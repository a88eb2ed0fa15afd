import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

const PARTIAL_ROOMS = sql('partial_rooms', 'select room from partial_rooms where state is not null order by room');
const ROWS_SINCE = sql(
  'partial_state_rows',
  'select nid, chain, others, members from state_delta where room = $1 and nid >= $2 and nid > $3 order by nid limit $4',
);
const EVENTS_SINCE = sql(
  'partial_events_since',
  `select nid from events where room = $1 and nid > $2 and flags & ${EVENT_FLAGS.rejected | EVENT_FLAGS.outlier} = 0 order by nid limit $3`,
);
const HIDDEN_BETWEEN = sql(
  'partial_hidden_between',
  `select nid from events where room = $1 and nid > $2 and nid <= $3
     and flags & ${EVENT_FLAGS.rejected | EVENT_FLAGS.softFailed} <> 0 and flags & ${EVENT_FLAGS.outlier} = 0 order by nid limit $4`,
);
const LINEAGE_SINCE = sql(
  'partial_lineage_since',
  `select nid, prev, flags from events where room = $1 and nid >= $2 and nid < $3 and flags & ${EVENT_FLAGS.outlier} = 0 order by nid desc limit $4`,
);

/** Rooms with partial state. */
export const partialRooms = async (database: Database): Promise<readonly number[]> =>
  (await database.query<{ room: number }>(PARTIAL_ROOMS)).map(({ room }) => room);

/** A row of a state. */
export interface StateRow {
  readonly nid: number;
  /** Empty for one that builds on no other. */
  readonly chain: Buffer;
  readonly others: Buffer;
  readonly members: Buffer;
}

/** The rows of a room's states from one on, in order, those after `after`. */
export const stateRowsSince = (
  database: Database,
  room: number,
  { from, after, limit }: { readonly from: number; readonly after: number; readonly limit: number },
): Promise<StateRow[]> => database.query<StateRow>(ROWS_SINCE, [room, from, after, limit]);

/** Positions of a room's live events after one, in order, but for what was rejected. */
export const eventsSince = async (
  database: Database,
  room: number,
  after: number,
  limit: number,
): Promise<readonly number[]> =>
  (await database.query<{ nid: number }>(EVENTS_SINCE, [room, after, limit])).map(({ nid }) => nid);

/** Positions of a room's live events that were rejected or soft-failed, in order. */
export const hiddenBetween = async (
  database: Database,
  room: number,
  { after, limit, upTo }: { readonly after: number; readonly upTo: number; readonly limit: number },
): Promise<readonly number[]> =>
  (await database.query<{ nid: number }>(HIDDEN_BETWEEN, [room, after, upTo, limit])).map(({ nid }) => nid);

/** The prev_events of an event. */
export interface LineageRow {
  readonly nid: number;
  /** Positions of its prev_events that are here. */
  readonly prev: readonly number[];
  readonly flags: number;
}

/** What a room's live events between two positions come after, the newest first. */
export const lineageBetween = (
  database: Database,
  room: number,
  { from, before, limit }: { readonly from: number; readonly before: number; readonly limit: number },
): Promise<LineageRow[]> => database.query<LineageRow>(LINEAGE_SINCE, [room, from, before, limit]);
