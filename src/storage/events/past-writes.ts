import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { BatchStatements, BatchTable, insertStep } from '../batch-statement.ts';
import type { Database } from '../database.ts';
import { sql } from '../statement.ts';
import type { EventRow } from './event-rows.ts';
import { EVENT_COLUMNS } from './event-tables.ts';

// What is stored before a room's live history: outliers, and what is backfilled. It has negative positions, which go down.

/** What is written of the past in one statement. */
export interface PastWrite {
  readonly events: readonly EventRow[];
}

const EVENTS = BatchTable.declare<PastWrite, EventRow>({
  name: 'events',
  rows: ({ events }) => events,
  columns: EVENT_COLUMNS,
});

const ANSWER = (): string => 'select nid from new_events';

const OUTLIERS = new BatchStatements<PastWrite>(
  [{ name: 'write_outliers', steps: [insertStep(EVENTS, { after: 'on conflict do nothing returning nid' })] }],
  ANSWER,
);

const RESERVE = sql('past_reserve', 'update shards set low_seq = low_seq + $2 where id = $1 returning low_seq');
const SHADOW = sql(
  'past_shadow',
  `update events set event_id = event_id || '\\x00'::bytea where room = $1 and nid = any($2::bigint[])
     and flags & ${EVENT_FLAGS.outlier} <> 0`,
);

/**
 * Sets positions of the past aside.
 *
 * @returns the sequence number of the lowest of them; the others are the `count - 1` below it (they count up the further back they lie)
 */
export const reservePast = async (database: Database, shard: number, count: number): Promise<number> => {
  const [row] = await database.query<{ low_seq: number }>(RESERVE, [shard, count]);
  if (row === undefined) throw new Error(`there is no shard ${shard}`);
  return row.low_seq;
};

/** Writes outliers. @returns positions of those that were not there */
export const writeOutliers = async (database: Database, events: readonly EventRow[]): Promise<ReadonlySet<number>> =>
  new Set((await OUTLIERS.write<{ nid: number }>(database, { events })).map(({ nid }) => nid));

/**
 * Takes the ids away from outliers whose events come into the room's history under new positions: what named them (states, auth events)
 * still finds them, nobody else does.
 */
export const shadowOutliers = async (database: Database, room: number, nids: readonly number[]): Promise<void> => {
  await database.query(SHADOW, [room, nids]);
};
