import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** That some event relates to another one. */
export interface RelationRecord {
  /** Position of the event that is related to. */
  readonly target: number;
  readonly sender: string;
  readonly rel_type: string;
}

const RELATIONS_TO = sql(
  'relations_to_events',
  `select distinct e.rel as target, u.user_id as sender, s.s as rel_type from events e
   join users u on u.nid = e.sender join strings s on s.nid = e.rel_type
   where e.rel = any($1::bigint[]) and e.room = $2 and e.redacted_by is null`,
);

/** Who relates how to these events of a room. */
export const relationsTo = (database: Database, room: number, targets: readonly number[]): Promise<RelationRecord[]> =>
  database.query<RelationRecord>(RELATIONS_TO, [targets, room]);
