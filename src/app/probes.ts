import type { Config } from './config/config.ts';
import { certificateAuthorities as readCertificateAuthorities } from './ground/server-files.ts';
import { smtpClient } from './slices/mail.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { silentLogger } from '#src/kernel/logger.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { sql } from '#src/storage/statement.ts';
import { Database } from '#src/storage/database.ts';
import { locateBinaries, postgresUser } from '#src/storage/postgres/postgres-binaries.ts';

/**
 * Checks whether the mail server can be used: connects, and logs in.
 *
 * @returns a sentence about what was found; undefined where none is configured
 * @throws with a sentence about what is wrong
 */
export async function probeMail(config: Config): Promise<string | undefined> {
  const certificateAuthorities = await readCertificateAuthorities(config.federation.trustedCaFiles);
  const client = smtpClient({ config, certificateAuthorities, timers: systemTimers });
  if (client === undefined || config.email.smtpUrl === null) return undefined;
  const { host } = new URL(config.email.smtpUrl);
  try {
    await client.probe();
    return `${host} takes our mail`;
  } catch (error) {
    throw new Error(`${host} cannot be used: ${(error as Error).message}`, { cause: error });
  } finally {
    await client.close();
  }
}

const SERVER = sql(
  'probe_server',
  `select current_setting('server_version_num')::int as version, current_setting('server_version') as name,
     pg_encoding_to_char(encoding) as encoding, datctype as ctype from pg_database where datname = current_database()`,
);

const OLDEST_POSTGRES = 150_000;

/**
 * Checks whether the configured database can be used.
 *
 * @returns a sentence about what was found
 * @throws with a sentence about what is wrong
 */
export async function probeDatabase(url: string | null): Promise<string> {
  if (url === null) {
    await locateBinaries(await postgresUser());
    return 'the embedded PostgreSQL is installed';
  }
  const database = await Database.open({ url, poolSize: 3, logger: silentLogger, metrics: noMetrics });
  try {
    const [row] = await database.query<{ version: number; name: string; encoding: string; ctype: string }>(SERVER);
    if (row === undefined) throw new Error('PostgreSQL does not know the database it is connected to');
    if (row.version < OLDEST_POSTGRES) throw new Error(`PostgreSQL ${row.name} is too old, 15 or later is needed`);
    if (row.encoding !== 'UTF8')
      throw new Error(
        `the database is encoded in ${row.encoding}; make it with: create database ... encoding 'UTF8' template template0`,
      );
    const hint =
      row.ctype === 'C' || row.ctype === 'POSIX'
        ? ' (LC_CTYPE is C: C.UTF-8 would let searches ignore case in every language)'
        : '';
    return `PostgreSQL ${row.name} answers${hint}`;
  } finally {
    await database.close();
  }
}
