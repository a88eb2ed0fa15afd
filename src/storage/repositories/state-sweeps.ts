import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

const STATES_IN_USE = sql(
  'sweep_states_in_use',
  `select distinct s.state from events e cross join lateral
     (values (e.state), (e.current_state), (case when e.flags & 1 = 1 then e.nid end)) s(state)
   where e.room = $1 and s.state is not null
   union select state from room_tail where room = $1`,
);
const DELTAS_UP_TO = sql(
  'sweep_deltas',
  `select d.nid, d.chain from state_delta d join room_tail t on t.room = d.room where d.room = $1 and d.nid <= t.last_pos`,
);
const DELETE_DELTAS = sql('sweep_delete_deltas', 'delete from state_delta where room = $1 and nid = any($2::bigint[])');

/** Ids of the states that the room's events and its tail name. */
export const statesInUse = async (database: Database, room: number): Promise<number[]> =>
  (await database.query<{ state: number }>(STATES_IN_USE, [room])).map((row) => row.state);

/** The rows of a room's states, up to its newest event, each with the ids of those before it. */
export const stateDeltas = (
  database: Database,
  room: number,
): Promise<{ readonly nid: number; readonly chain: readonly number[] }[]> => database.query(DELTAS_UP_TO, [room]);

export const deleteStateDeltas = async (database: Database, room: number, nids: readonly number[]): Promise<void> => {
  await database.query(DELETE_DELTAS, [room, nids]);
};
