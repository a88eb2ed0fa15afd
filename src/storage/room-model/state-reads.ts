import { EVENT_FLAGS, HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { Database } from '../database.ts';
import { sql } from '../statement.ts';
import type { EventRecord } from './event-reads.ts';

/** A row of the chain that makes a state of a room up. */
export interface StateDeltaRecord {
  /** The state that was asked for. */
  readonly state: number;
  readonly nid: number;
  readonly seq: number;
  /** Entries as `protocol/wire/packed-state.ts` packs them. */
  readonly others: Buffer;
  readonly members: Buffer;
}

/** A lateral table of the ids (`nids`) of the rows that make the state `s` up: its chain, as `protocol/wire/packed-state.ts` packs it. */
export const ROWS_OF_STATE = `(
    select array(
      select s.nid - ('x' || lpad(encode(substr(s.chain, 2 + i * get_byte(s.chain, 0), get_byte(s.chain, 0)), 'hex'), 16, '0'))::bit(64)::bigint
      from generate_series(0, case when length(s.chain) = 0 then -1 else (length(s.chain) - 1) / get_byte(s.chain, 0) - 1 end) i
    ) || s.nid as nids offset 0
  )`;

const STATE_CHAIN = sql(
  'state_chain',
  `select s.nid as state, d.nid, d.seq, d.others, d.members
   from state_delta s cross join lateral ${ROWS_OF_STATE} c join state_delta d on d.nid = any(c.nids)
   where s.nid = any($1::bigint[]) order by s.nid, d.seq`,
);

const STATES_OF = sql('event_states', 'select nid, state from events where room = $1 and nid = any($2::bigint[])');

const STATE_AT = sql(
  'state_at_position',
  `select l.room, l.nid, l.state, l.flags, l.current_state from unnest($1::int[], $2::bigint[]) u(room, up_to) cross join lateral (
    select e.room, e.nid, e.state, e.flags, e.current_state from events e
    where e.room = u.room and e.nid > 0 and e.nid <= u.up_to and e.flags & ${HIDDEN_FLAGS} = 0 order by e.nid desc limit 1
  ) l`,
);

const STATE_KEYS_BY_ID = sql(
  'event_state_keys_by_id',
  `select event_id, nid, skey from events where room = $1 and event_id = any($2::bytea[])
   and skey is not null and flags & ${EVENT_FLAGS.rejected} = 0`,
);

/** The rows of which each state consists, oldest first; at most 8 for a state. */
export const stateChains = (database: Database, states: readonly number[]): Promise<StateDeltaRecord[]> =>
  database.query<StateDeltaRecord>(STATE_CHAIN, [states]);

/** The ids of the states before events. */
export const statesOfEvents = (
  database: Database,
  room: number,
  nids: readonly number[],
): Promise<{ nid: number; state: number }[]> => database.query(STATES_OF, [room, nids]);

/** Of each room, the last event at or before a position: its state (and itself, when a state event) is the state there. */
export const stateAtPositions = (
  database: Database,
  wanted: readonly { readonly room: number; readonly upTo: number }[],
): Promise<{ room: number; nid: number; state: number; flags: number; current_state: number | null }[]> =>
  database.query(STATE_AT, [wanted.map((one) => one.room), wanted.map((one) => one.upTo)]);

/** Id of the state that a room had after the event that arrived last. */
export const stateIdAfter = (last: Pick<EventRecord, 'nid' | 'state' | 'flags' | 'current_state'>): number =>
  last.current_state ?? ((last.flags & EVENT_FLAGS.state) === 0 ? last.state : last.nid);

/** The entries that state events make in a state. What is rejected, no state event or not in the room is left out. */
export const stateEntriesById = (
  database: Database,
  room: number,
  eventIds: readonly Buffer[],
): Promise<{ event_id: Buffer; nid: number; skey: number }[]> => database.query(STATE_KEYS_BY_ID, [room, eventIds]);
