import { mkdtemp, readdir, readFile, rm, statfs } from 'node:fs/promises';
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { JOBS } from '#src/jobs/definitions.ts';
import { JobQueues } from '#src/jobs/job-queues.ts';
import { silentLogger } from '#src/kernel/logger.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { Database, type DatabaseOptions } from '#src/storage/database.ts';
import { DataDirectoryLock } from '#src/storage/data-directory-lock.ts';
import { EmbeddedPostgres } from '#src/storage/postgres/embedded-postgres.ts';
import { SERVER_ROLE } from '#src/storage/postgres/server-role.ts';

const PREFIX = 'tsudoi-test-pg-';
const TEMPLATE = 'template_migrated';
/** A memory file system: databases are copied there in a tenth of the time. */
const MEMORY = '/dev/shm';
/** Bytes that have to be free there. A database takes ten million, and a test file seldom has more than one. */
const MEMORY_NEEDED = 2 * 1024 ** 3;

/** A database for one test file: migrated, empty, dropped afterwards. */
export interface TestDatabase {
  readonly name: string;
  readonly url: string;
  readonly database: Database;
  /** Closes `database` and drops it. */
  drop(): Promise<void>;
}

interface TestPostgres {
  readonly embedded: EmbeddedPostgres;
  readonly folder: string;
}

let running: Promise<TestPostgres> | undefined;
let clones = 0;
const open = new Set<TestDatabase>();

async function launch(): Promise<TestPostgres> {
  await sweep(tmpdir());
  await sweep(MEMORY);
  const folder = await mkdtemp(join(await home(), PREFIX));
  await DataDirectoryLock.take(folder);
  const embedded = await EmbeddedPostgres.start({
    dataDir: folder,
    logger: silentLogger,
    // A test run that loses its database is repeated anyway.
    settings: {
      fsync: 'off',
      synchronous_commit: 'off',
      // What a change adds to the log is counted: a checkpoint in the middle would add whole pages to it.
      full_page_writes: 'off',
      max_connections: '200',
      checkpoint_timeout: '1h',
    },
  });
  // Mocha with --exit, an uncaught error, Ctrl-C: whichever way this process ends, its database ends with it.
  process.once('exit', () => {
    if (embedded.pid !== undefined) process.kill(embedded.pid, 'SIGQUIT');
    rmSync(folder, { recursive: true, force: true });
  });
  await embedded.createDatabase(TEMPLATE);
  const template = await Database.open({ url: embedded.url(TEMPLATE), logger: silentLogger, metrics: noMetrics });
  await template.migrate();
  await makeQueues(template);
  await template.close();
  return { embedded, folder };
}

/** The tables of job queues take a while to create, too. */
async function makeQueues(template: Database): Promise<void> {
  const store = { kind: 'postgres', pool: template.queueConnections(JOBS.length + 1) } as const;
  const queues = new JobQueues({ store, definitions: JOBS, logger: silentLogger, timers: systemTimers });
  await queues.open();
  await queues.close();
}

/** In memory, where there is enough of it. */
async function home(): Promise<string> {
  const found = await statfs(MEMORY).catch(() => undefined);
  return found !== undefined && found.bavail * found.bsize >= MEMORY_NEEDED ? MEMORY : tmpdir();
}

/** Ends databases of earlier test runs that were killed with SIGKILL, and removes their folders. */
async function sweep(parent: string): Promise<void> {
  const names = (await readdir(parent).catch(() => [])).filter((name) => name.startsWith(PREFIX));
  for (const name of names) {
    const folder = join(parent, name);
    try {
      const lock = await DataDirectoryLock.take(folder);
      const pid = Number(
        (await readFile(join(folder, 'postgres', 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')[0],
      );
      if (pid > 0) process.kill(pid, 'SIGQUIT');
      await lock.release();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') continue;
    }
    await rm(folder, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Copies files: that takes two checkpoints, which are cheap here, instead of a log record for every page. */
const clone = (name: string): Promise<void> =>
  administer(`create database ${name} owner ${SERVER_ROLE} template ${TEMPLATE} strategy file_copy`);

async function administer(statement: string): Promise<void> {
  running ??= launch();
  const { embedded } = await running;
  await query(embedded.adminUrl('postgres'), statement);
}

/** Runs one statement on a connection of its own. @returns its rows */
export async function query(url: string, statement: string): Promise<object[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<object>(statement)).rows;
  } finally {
    await client.end();
  }
}

/**
 * Makes an empty database on the test run's PostgreSQL and returns its URL: for servers that migrate it themselves.
 *
 * @param options what else `create database` takes, such as another locale
 */
export async function emptyDatabase(options = ''): Promise<string> {
  const name = `empty_${(clones += 1)}`;
  await administer(`create database ${name} owner ${SERVER_ROLE} ${options}`);
  const { embedded } = await running!;
  return embedded.url(name);
}

/** Makes a migrated, empty database on the test run's PostgreSQL and returns its URL: for processes that begin with it. */
export async function migratedDatabase(): Promise<string> {
  const name = `migrated_${(clones += 1)}`;
  await clone(name);
  const { embedded } = await running!;
  return embedded.url(name);
}

/** Drops a database that `migratedDatabase` or `emptyDatabase` made, and ends all connections to it. */
export async function dropDatabase(url: string): Promise<void> {
  await administer(`drop database if exists ${new URL(url).pathname.slice(1)} with (force)`);
}

/** Ends all connections to a database, also in the middle of a statement. */
export async function cutConnections(url: string): Promise<void> {
  const name = new URL(url).pathname.slice(1);
  await administer(`select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}'`);
}

/** Clones the migrated template: a few milliseconds, where migrating takes a second. The first call starts PostgreSQL. */
export async function cloneDatabase(options: Partial<Omit<DatabaseOptions, 'url'>> = {}): Promise<TestDatabase> {
  const name = `test_${(clones += 1)}`;
  await clone(name);
  const { embedded } = await running!;
  const url = embedded.url(name);
  const database = await Database.open({ logger: silentLogger, metrics: noMetrics, ...options, url });
  const made: TestDatabase = {
    name,
    url,
    database,
    async drop() {
      if (!open.delete(made)) return;
      await database.close();
      await administer(`drop database if exists ${name} with (force)`);
    },
  };
  open.add(made);
  return made;
}

/** Ends the test run's PostgreSQL, whatever is still open on it. Called by the root hook after the last test. */
export async function stopTestPostgres(): Promise<void> {
  if (running === undefined) return;
  // A connection that a failed test did not release would be waited for without end.
  const patience = new Promise((resolve) => setTimeout(resolve, 3_000));
  await Promise.race([patience, Promise.allSettled([...open].map((clone) => clone.database.close()))]);
  open.clear();
  const { embedded, folder } = await running;
  running = undefined;
  await embedded.stop();
  await rm(folder, { recursive: true, force: true });
}
