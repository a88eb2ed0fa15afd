import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

const SIZE = sql('facts_database_size', 'select pg_database_size(current_database())::bigint as bytes');
const OUTBOX = sql(
  'facts_outbox',
  'select count(*)::int as jobs, min(created_ts) as oldest from (select created_ts from outbox order by id limit 10000) o',
);
const TOTALS = sql(
  'facts_totals',
  `select (select count(*)::int from accounts where not deactivated) as accounts, (select count(*)::int from room_tail) as rooms,
     (select count(*)::int from media) as files, (select coalesce(sum(size), 0)::bigint from blobs where not doomed) as "mediaBytes"`,
);

/** Bytes that the database takes on disk. */
export const databaseBytes = async (database: Database): Promise<number> =>
  (await database.query<{ bytes: number }>(SIZE))[0]?.bytes ?? 0;

/** Jobs that are committed and not in a queue yet, up to ten thousand of them, and since when the first one waits (milliseconds since the epoch). */
export const outboxState = async (
  database: Database,
): Promise<{ readonly jobs: number; readonly oldest: number | null }> =>
  (await database.query<{ jobs: number; oldest: number | null }>(OUTBOX))[0] ?? { jobs: 0, oldest: null };

/** Counts of accounts, rooms, events and media. Deactivated accounts are not counted. */
export interface Totals {
  readonly accounts: number;
  readonly rooms: number;
  /** Media of this server, and what is kept of others', and the bytes of both with their thumbnails. */
  readonly files: number;
  readonly mediaBytes: number;
}

/** Counts everything: it reads whole tables, or their indexes. */
export const countTotals = async (database: Database): Promise<Totals> =>
  (await database.query<Totals>(TOTALS))[0] ?? { accounts: 0, rooms: 0, files: 0, mediaBytes: 0 };
