import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** A server that could not be reached. */
export interface ServerOutageRow {
  readonly serverName: string;
  /** Milliseconds since the epoch. */
  readonly since: number;
  readonly retryAt: number;
}

const READ = sql(
  'server_outages',
  `select server_name as "serverName", since, retry_at as "retryAt" from server_outages order by retry_at desc limit $1`,
);
const SAVE = sql(
  'server_outages_save',
  `insert into server_outages (server_name, since, retry_at) select * from unnest($1::text[], $2::bigint[], $3::bigint[])
   on conflict (server_name) do update set since = excluded.since, retry_at = excluded.retry_at`,
);
const DELETE = sql('server_outages_delete', 'delete from server_outages where server_name = any($1::text[])');
const SWEEP = sql('server_outages_sweep', 'delete from server_outages where retry_at < $1');

/** Those that are tried again last. */
export const readServerOutages = (database: Database, limit: number): Promise<ServerOutageRow[]> =>
  database.query<ServerOutageRow>(READ, [limit]);

export const saveServerOutages = async (database: Database, outages: readonly ServerOutageRow[]): Promise<void> => {
  await database.query(SAVE, [
    outages.map(({ serverName }) => serverName),
    outages.map(({ since }) => since),
    outages.map(({ retryAt }) => retryAt),
  ]);
};

export const deleteServerOutages = async (database: Database, serverNames: readonly string[]): Promise<void> => {
  await database.query(DELETE, [serverNames]);
};

/** Forgets servers that nobody has tried since they could be tried again. */
export const sweepServerOutages = async (database: Database, retryBefore: number): Promise<void> => {
  await database.query(SWEEP, [retryBefore]);
};
