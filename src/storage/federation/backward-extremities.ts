import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** An event that is not here, and how deep what comes after it lies. */
export interface BackwardExtremity {
  readonly event_id: Buffer;
  /** Of the deepest event that names it. */
  readonly topo: number;
}

const EXTREMITIES = sql(
  'backward_extremities',
  `select m.event_id, max(e.topo) as topo from missing_prev m join events e on e.room = m.room and e.nid = m.referrer
   where m.room = $1 and e.topo between $2 and $3 group by m.event_id order by topo desc limit $4`,
);
const ANY = sql('backward_extremity_any', 'select 1 from missing_prev where room = $1 limit 1');

/** Events that are missing before some of a room with a depth within bounds, those of the deepest first. */
export const backwardExtremities = (
  database: Database,
  room: number,
  range: { readonly from: number; readonly to: number },
  limit: number,
): Promise<BackwardExtremity[]> => database.query(EXTREMITIES, [room, range.from, range.to, limit]);

/** Whether a room has backward extremities. */
export const hasBackwardExtremities = async (database: Database, room: number): Promise<boolean> =>
  (await database.query(ANY, [room])).length > 0;
