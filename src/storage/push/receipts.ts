import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

export interface ReceiptRecord {
  readonly room: number;
  readonly user_nid: number;
  readonly kind: number;
  readonly thread: string;
  readonly event_id: string;
  readonly event: number | null;
  readonly ts: number;
  readonly pos: number;
}

const OF_ROOMS = sql(
  'receipts_of_rooms',
  'select room, user_nid, kind, thread, event_id, event, ts, pos from receipts where room = any($1::int[]) order by pos',
);

/** All receipts of these rooms, the oldest change first. */
export const receiptsOfRooms = (database: Database, rooms: readonly number[]): Promise<ReceiptRecord[]> =>
  database.query<ReceiptRecord>(OF_ROOMS, [rooms]);
