import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { BatchStatements, BatchTable, insertStep, type Step } from '../batch-statement.ts';
import type { Database } from '../database.ts';
import { sql } from '../statement.ts';
import type { AwaitedRedactionRow, EventRow, JobRow, MissingPrevRow, StateDeltaRow } from './event-rows.ts';
import {
  AWAITED_REDACTION_COLUMNS,
  AWAITED_RELATION_COLUMNS,
  DELTA_COLUMNS,
  EVENT_COLUMNS,
  JOB_COLUMNS,
  MISSING_PREV_COLUMNS,
} from './event-tables.ts';

// What is stored before a room's live history: outliers, and what is backfilled. It has negative positions, which go down.

/** The historical events that one statement writes. */
export interface PastWrite {
  readonly events: readonly EventRow[];
  readonly deltas?: readonly StateDeltaRow[];
  readonly missing?: readonly MissingPrevRow[];
  readonly awaitedRedactions?: readonly AwaitedRedactionRow[];
  readonly jobs?: readonly JobRow[];
}

const EVENTS = BatchTable.declare<PastWrite, EventRow>({
  name: 'events',
  rows: ({ events }) => events,
  columns: EVENT_COLUMNS,
});

const DELTAS = BatchTable.declare<PastWrite, StateDeltaRow>({
  name: 'state_delta',
  rows: ({ deltas }) => deltas ?? [],
  columns: DELTA_COLUMNS,
});

const MISSING = BatchTable.declare<PastWrite, MissingPrevRow>({
  name: 'missing_prev',
  rows: ({ missing }) => missing ?? [],
  columns: MISSING_PREV_COLUMNS,
});

const AWAITED_REDACTIONS = BatchTable.declare<PastWrite, AwaitedRedactionRow>({
  name: 'awaited_redactions',
  rows: ({ awaitedRedactions }) => awaitedRedactions ?? [],
  columns: AWAITED_REDACTION_COLUMNS,
});

const JOBS = BatchTable.declare<PastWrite, JobRow>({
  name: 'outbox',
  rows: ({ jobs }) => jobs ?? [],
  columns: JOB_COLUMNS,
});

/** Events that relate to what is not here. */
const RELATING = BatchTable.declare<PastWrite, EventRow>({
  name: 'awaited_relations',
  rows: ({ events }) => events.filter(({ rel }) => typeof rel === 'object'),
  columns: AWAITED_RELATION_COLUMNS,
});

const AWAITING = insertStep(RELATING, {
  after: 'where not exists (select 1 from events t where t.event_id = n.target)',
});

const CONNECTED: Step<PastWrite> = {
  name: 'connected',
  tables: [EVENTS],
  text: (rows) => `update events e set rel = n.nid
from awaited_relations a, ${rows(EVENTS, 'n', ['room', 'nid', 'event_id'])}
where a.room = n.room and a.target = n.event_id and e.room = a.room and e.nid = a.child`,
};

const ARRIVED: Step<PastWrite> = {
  name: 'arrived',
  tables: [EVENTS],
  text: (rows) => `delete from awaited_relations a using ${rows(EVENTS, 'n', ['room', 'event_id'])}
where a.room = n.room and a.target = n.event_id`,
};

const FOUND: Step<PastWrite> = {
  name: 'found',
  tables: [EVENTS],
  text: (rows) => `delete from missing_prev m using ${rows(EVENTS, 'n', ['room', 'event_id'])}
where m.room = n.room and m.event_id = n.event_id`,
};

const ANSWER = (): string => 'select nid from new_events';

const OUTLIERS = new BatchStatements<PastWrite>(
  [{ name: 'write_outliers', steps: [insertStep(EVENTS, { after: 'on conflict do nothing returning nid' })] }],
  ANSWER,
);

/** Outliers come into the history in their places: what names them by position still does. */
const HISTORY = new BatchStatements<PastWrite>(
  [
    {
      name: 'write_past',
      steps: [
        insertStep(EVENTS, {
          after: `on conflict (event_id) do update set flags = excluded.flags, state = excluded.state, prev = excluded.prev,
auth = excluded.auth, rel = excluded.rel, rel_type = excluded.rel_type, annotation = excluded.annotation, replaces = excluded.replaces
where events.room = excluded.room and events.flags & ${EVENT_FLAGS.outlier} <> 0 returning nid`,
        }),
        insertStep(DELTAS, { after: 'on conflict do nothing' }),
        AWAITING,
        CONNECTED,
        ARRIVED,
        insertStep(MISSING, { after: 'on conflict do nothing' }),
        FOUND,
        insertStep(AWAITED_REDACTIONS, { after: 'on conflict do nothing' }),
        insertStep(JOBS),
      ],
    },
  ],
  ANSWER,
);

const RESERVE = sql('past_reserve', 'update shards set low_seq = low_seq + $2 where id = $1 returning low_seq');

/**
 * Reserves positions for historical events.
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

/** Writes history, in one commit. */
export const writePast = async (database: Database, past: PastWrite): Promise<void> => {
  await HISTORY.write(database, past);
  if (past.jobs !== undefined && past.jobs.length > 0) database.enqueued.emit();
};
