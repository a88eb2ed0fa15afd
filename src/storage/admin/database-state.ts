import type { Database } from '../database.ts';
import { sql } from '../statement.ts';
import { databaseBytes, outboxState } from './server-facts.ts';

const SETTINGS = sql(
  'state_settings',
  `select name, current_setting(name) as value from pg_settings where name = any($1::text[])`,
);
const TABLES = sql(
  'state_tables',
  `select relname as name, pg_total_relation_size(relid)::bigint as bytes, n_live_tup::bigint as live, n_dead_tup::bigint as dead
   from pg_stat_user_tables order by 2 desc limit 20`,
);
const NOW = sql('state_now', 'select (extract(epoch from clock_timestamp()) * 1000)::bigint as now');
const HAS_OUTBOX = sql('state_has_outbox', `select to_regclass('outbox') is not null as "isThere"`);
const FAILED_TABLE = sql('state_has_jobs', `select to_regclass('bullmq.job') is not null as "isThere"`);
const FAILED = sql('state_failed_jobs', `select count(*)::int as count from bullmq.job where state = 'failed'`);

const LOOKED_AT = [
  'autovacuum',
  'fsync',
  'full_page_writes',
  'max_connections',
  'shared_buffers',
  'synchronous_commit',
];

/** A table with its indexes: bytes, and live and dead rows by PostgreSQL's own count. */
export interface TableState {
  readonly name: string;
  readonly bytes: number;
  readonly live: number;
  readonly dead: number;
}

export interface DatabaseState {
  readonly bytes: number;
  readonly settings: Readonly<Record<string, string>>;
  /** The largest ones. */
  readonly tables: readonly TableState[];
  /** Its clock, in milliseconds since the epoch. */
  readonly now: number;
}

/** Settings and size of a database. It need not be migrated. */
export const inspectDatabase = async (database: Database): Promise<DatabaseState> => {
  const settings = await database.query<{ name: string; value: string }>(SETTINGS, [LOOKED_AT]);
  const bytes = await databaseBytes(database);
  const tables = await database.query<TableState>(TABLES);
  const [clock] = await database.query<{ now: number }>(NOW);
  return {
    bytes,
    tables,
    settings: Object.fromEntries(settings.map(({ name, value }) => [name, value])),
    now: clock?.now ?? 0,
  };
};

/**
 * Jobs that wait to be moved to their queues, since when the first one waits, and those that failed for good.
 *
 * @param hasQueues whether the queues are in the database too
 */
export const queueState = async (
  database: Database,
  hasQueues: boolean,
): Promise<{ readonly outbox: number; readonly oldest: number | null; readonly failed: number }> => {
  const isThere = async (statement: typeof HAS_OUTBOX): Promise<boolean> =>
    (await database.query<{ isThere: boolean }>(statement))[0]?.isThere === true;
  const { jobs: outbox, oldest } = (await isThere(HAS_OUTBOX))
    ? await outboxState(database)
    : { jobs: 0, oldest: null };
  if (!hasQueues || !(await isThere(FAILED_TABLE))) return { outbox, oldest, failed: 0 };
  const [failed] = await database.query<{ count: number }>(FAILED);
  return { outbox, oldest, failed: failed?.count ?? 0 };
};
