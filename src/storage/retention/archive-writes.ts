import type { Database } from '../database.ts';
import { sql } from '../statement.ts';
import type { EventRow } from '../events/event-rows.ts';
import { EVENT_FLAGS } from '../events/event-writes.ts';

const HIDDEN = EVENT_FLAGS.rejected | EVENT_FLAGS.softFailed | EVENT_FLAGS.outlier;

/** An event that comes back out of an archive. */
export interface RestoredRow extends Omit<EventRow, 'room' | 'rel' | 'delayId' | 'sentBy'> {
  readonly rel: number | null;
  readonly redactedBy: number | null;
}

// Those that stayed, hidden, for the sake of the state are shown again.
const RESTORE = sql(
  'archive_restore',
  `insert into events (room, nid, topo, event_id, type, skey, sender, ts, state, prev, auth, rel, rel_type, flags, json, replaces,
     redacted_by, current_state)
   select $1, e.nid, e.topo, e.event_id, e.type, e.skey, e.sender, e.ts, e.state, e.prev::bigint[], e.auth::bigint[], e.rel,
     e.rel_type, e.flags, e.json, e.replaces, e.redacted_by, e.current_state
   from unnest($2::bigint[], $3::bigint[], $4::bytea[], $5::int[], $6::int[], $7::int[], $8::bigint[], $9::bigint[], $10::text[],
     $11::text[], $12::bigint[], $13::int[], $14::int[], $15::text[], $16::bigint[], $17::bigint[], $18::bigint[])
     e(nid, topo, event_id, type, skey, sender, ts, state, prev, auth, rel, rel_type, flags, json, replaces, redacted_by,
       current_state)
   on conflict (event_id) do update set flags = excluded.flags, state = excluded.state, current_state = excluded.current_state
     where events.room = $1 and events.flags & ${EVENT_FLAGS.outlier} <> 0
   returning nid`,
);
const STATES = sql('archive_states', 'select nid from state_delta where room = $1 and nid = any($2::bigint[])');
const FLOOR = sql(
  'archive_floor_state',
  `select coalesce(
     (select e.state from events e where e.room = $1 and e.flags & ${HIDDEN} = 0 order by e.nid limit 1),
     (select t.state from room_tail t where t.room = $1)
   ) as state`,
);

/** @returns positions of those that were not there, or were hidden */
export const restoreEvents = async (
  database: Database,
  room: number,
  rows: readonly RestoredRow[],
): Promise<number[]> => {
  const column = <Key extends keyof RestoredRow>(key: Key): RestoredRow[Key][] => rows.map((row) => row[key]);
  const values = [
    room,
    column('nid'),
    column('topo'),
    column('eventId'),
    column('type'),
    column('skey'),
    column('sender'),
    column('ts'),
    column('state'),
    rows.map((row) => `{${row.prev.join(',')}}`),
    rows.map((row) => `{${row.auth.join(',')}}`),
    column('rel'),
    column('relType'),
    column('flags'),
    column('json'),
    column('replaces'),
    column('redactedBy'),
    column('currentState'),
  ];
  return (await database.query<{ nid: number }>(RESTORE, values)).map(({ nid }) => nid);
};

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
