import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** A state reset by the resolution of a fork. */
export interface StateResetRecord {
  readonly room_id: string;
  /** Id of the event with which the fork came, as it is stored. */
  readonly event_id: Buffer;
  readonly version: string;
  readonly ts: number;
  readonly members: number;
  readonly power: boolean;
  readonly example: string | null;
}

const LATEST = sql(
  'state_resets_latest',
  `select r.room_id, e.event_id, r.version, s.ts, s.members, s.power, s.example from state_resets s
   join rooms r on r.nid = s.room join events e on e.room = s.room and e.nid = s.event order by s.id desc limit $1`,
);
const TRIM = sql(
  'state_resets_trim',
  'delete from state_resets where id <= (select max(id) from state_resets) - $1 returning 1',
);

/** The latest of them. */
export const latestStateResets = (database: Database, limit: number): Promise<StateResetRecord[]> =>
  database.query<StateResetRecord>(LATEST, [limit]);

/** Forgets all but about the latest `most`. @returns how many */
export const trimStateResets = async (database: Database, most: number): Promise<number> =>
  (await database.query(TRIM, [most])).length;
