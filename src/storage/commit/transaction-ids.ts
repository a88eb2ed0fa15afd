import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** The transaction ids of requests that made events: a repeated request gets the event of the first one. */
const TXNS = sql('txns_by_key', 'select key, event_id from txn where key = any($1::uuid[])');

const ANY_TXN = sql('txn_any', 'select 1 from txn limit 1');

/** The events that earlier requests with these transaction ids made. */
export const eventsOfTxns = async (database: Database, keys: readonly string[]): Promise<Map<string, string>> => {
  const rows = await database.query<{ key: string; event_id: string }>(TXNS, [keys]);
  return new Map(rows.map((row) => [row.key, row.event_id]));
};

/** Whether any transaction id is stored at all. */
export const hasTxns = async (database: Database): Promise<boolean> => (await database.query(ANY_TXN)).length > 0;
