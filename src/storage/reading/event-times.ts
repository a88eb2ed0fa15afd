import { HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** Where an event stands in time. */
export interface EventTime {
  readonly ts: number;
  readonly topo: number;
  readonly nid: number;
}

const SINCE = sql(
  'events_since_time',
  `select ts, topo, nid from events where room = $1 and ts >= $2 and ts <= $3 and (ts, topo, nid) > ($2, $4, $5)
     and nid <= $6 and nid >= $8 and flags & ${HIDDEN_FLAGS} = 0
   order by ts, topo, nid limit $7`,
);
const UNTIL = sql(
  'events_until_time',
  `select ts, topo, nid from events where room = $1 and ts <= $2 and ts >= $3 and (ts, topo, nid) < ($2, $4, $5)
     and nid <= $6 and nid >= $8 and flags & ${HIDDEN_FLAGS} = 0
   order by ts desc, topo desc, nid desc limit $7`,
);

/** The events of a room after (`f`) or before (`b`) a place in time, up to another time, the nearest first. */
export const eventsByTime = (
  database: Database,
  dir: 'f' | 'b',
  query: {
    readonly room: number;
    /** Exclusive. */
    readonly from: EventTime;
    /** Inclusive, milliseconds since the epoch. */
    readonly to: number;
    /** Least and greatest position. */
    readonly since: number;
    readonly upTo: number;
    readonly limit: number;
  },
): Promise<EventTime[]> =>
  database.query<EventTime>(dir === 'f' ? SINCE : UNTIL, [
    query.room,
    query.from.ts,
    query.to,
    query.from.topo,
    query.from.nid,
    query.upTo,
    query.limit,
    query.since,
  ]);
