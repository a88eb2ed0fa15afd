import { EVENT_FLAGS, HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import { BatchStatements, BatchTable, bigint, insertStep } from '../batch-statement.ts';
import type { Database } from '../database.ts';
import { sql } from '../statement.ts';
import type { EventRow } from '../events/event-rows.ts';
import { EVENT_COLUMNS } from '../events/event-tables.ts';

// Events that were kept, hidden, because the state needs them are shown again.
const RESTORED = BatchTable.declare<readonly EventRow[], EventRow>({
  name: 'events',
  rows: (events) => events,
  columns: { ...EVENT_COLUMNS, redacted_by: bigint((event) => event.redactedBy) },
});
const RESTORE = new BatchStatements<readonly EventRow[]>(
  [
    {
      name: 'archive_restore',
      steps: [
        insertStep(RESTORED, {
          after: `on conflict (event_id) do update set flags = excluded.flags, state = excluded.state, current_state = excluded.current_state
where events.room = excluded.room and events.flags & ${EVENT_FLAGS.outlier} <> 0 returning nid`,
        }),
      ],
    },
  ],
  () => 'select nid from new_events',
);
const STATES = sql('archive_states', 'select nid from state_delta where room = $1 and nid = any($2::bigint[])');
const FLOOR = sql(
  'archive_floor_state',
  `select coalesce(
     (select e.state from events e where e.room = $1 and e.flags & ${HIDDEN_FLAGS} = 0 order by e.nid limit 1),
     (select t.state from room_tail t where t.room = $1)
   ) as state`,
);

/** @returns positions of those that were not there, or were hidden */
export const restoreEvents = async (database: Database, events: readonly EventRow[]): Promise<number[]> =>
  (await RESTORE.write<{ nid: number }>(database, events)).map(({ nid }) => nid);

/** Which of these states can still be read. */
export const statesThatAreThere = async (
  database: Database,
  room: number,
  states: readonly number[],
): Promise<Set<number>> =>
  new Set((await database.query<{ nid: number }>(STATES, [room, states])).map((row) => row.nid));

/** The oldest state that an event of the room stands in. */
export const floorStateOf = async (database: Database, room: number): Promise<number> =>
  (await database.query<{ state: number }>(FLOOR, [room]))[0]?.state ?? 0;
