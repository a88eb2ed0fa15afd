import { spawn, type ChildProcess } from 'node:child_process';
import { chown, mkdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { LogFlood } from '#src/kernel/logging/log-flood.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { systemRandom, type Random } from '#src/kernel/random.ts';
import { systemTimers, type Timers } from '#src/kernel/timers.ts';
import {
  isReachable,
  locateBinaries,
  postgresUser,
  type PostgresBinaries,
  type PostgresUser,
} from './postgres-binaries.ts';
import { clearLeftovers, POSTGRES_ROLE, prepareCluster, type Cluster } from './postgres-cluster.ts';
import { makeServerDatabase, makeServerRole, SERVER_ROLE } from './server-role.ts';

export interface EmbeddedPostgresOptions {
  /** The server's data directory; the cluster lies in its folder `postgres`. */
  readonly dataDir: string;
  readonly logger: Logger;
  readonly timers?: Timers;
  readonly random?: Random;
  /** PostgreSQL settings that override ours: tests switch fsync off. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** Sized for a small server; operators who outgrow it set `database.url`. */
const SETTINGS: Readonly<Record<string, string>> = {
  shared_buffers: '128MB',
  effective_cache_size: '512MB',
  work_mem: '8MB',
  maintenance_work_mem: '64MB',
  max_connections: '60',
  wal_compression: 'on',
  wal_level: 'replica',
  max_wal_size: '1GB',
  min_wal_size: '80MB',
  checkpoint_timeout: '10min',
  checkpoint_completion_target: '0.9',
  random_page_cost: '1.1',
  synchronous_commit: 'on',
  fsync: 'on',
  full_page_writes: 'on',
  jit: 'off',
  lc_messages: 'C',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_min_messages: 'warning',
  log_line_prefix: '',
};

/** Linux allows 107 bytes for the path of a socket; a few are left for the file's name. */
const MAX_SOCKET_PATH_LENGTH = 100;
/** Part of the socket's file name only: nothing listens on this port. */
const SOCKET_NUMBER = 5432;
const START_TIMEOUT_MS = 60_000;

interface Listener {
  readonly args: readonly string[];
  readonly url: (database: string, role: string) => string;
}

/**
 * A PostgreSQL of our own, started as a child process on a Unix socket in the data directory (a free loopback port where
 * that path is too long for a socket). Started again when it dies; found and stopped when it outlived a killed server.
 */
export class EmbeddedPostgres {
  readonly #options: EmbeddedPostgresOptions;
  readonly #timers: Timers;
  readonly #flood: LogFlood;
  readonly #cluster: Cluster;
  readonly #binaries: PostgresBinaries;
  readonly #user: PostgresUser | undefined;
  #listener: Listener;
  #process: ChildProcess | undefined;
  #stopping = false;
  #restart: Promise<void> | undefined;

  private constructor(
    options: EmbeddedPostgresOptions,
    cluster: Cluster,
    binaries: PostgresBinaries,
    user: PostgresUser | undefined,
    listener: Listener,
  ) {
    this.#options = options;
    this.#timers = options.timers ?? systemTimers;
    this.#flood = new LogFlood(options.logger, this.#timers, { most: 1 });
    this.#cluster = cluster;
    this.#binaries = binaries;
    this.#user = user;
    this.#listener = listener;
  }

  /**
   * Starts it, and first creates the cluster and the database `tsudoi` where they are missing.
   *
   * @throws if PostgreSQL does not start; the message contains its last output
   */
  static async start(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
    const dataDir = resolve(options.dataDir);
    const timers = options.timers ?? systemTimers;
    const user = await postgresUser();
    const binaries = await locateBinaries(user);
    const cluster = await prepareCluster(dataDir, binaries, user, options.random ?? systemRandom, options.logger);
    await clearLeftovers(cluster.folder, binaries, user, timers, options.logger);
    const listener = (await socketListener(dataDir, user)) ?? (await loopbackListener(cluster.password));
    const embedded = new EmbeddedPostgres(options, cluster, binaries, user, listener);
    await embedded.#launch();
    try {
      await makeServerRole(embedded.adminUrl('postgres'), cluster.password);
      await embedded.createDatabase(POSTGRES_ROLE);
    } catch (error) {
      // No one else would stop the process.
      await embedded.stop();
      throw error;
    }
    return embedded;
  }

  /** The address of one of its databases, as `Database.open` takes it: for the server, which is no superuser there. */
  url(database: string = POSTGRES_ROLE): string {
    return this.#listener.url(database, SERVER_ROLE);
  }

  /** The same for its superuser. */
  adminUrl(database: string): string {
    return this.#listener.url(database, POSTGRES_ROLE);
  }

  /** The process id of the running server; undefined while it is down. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Makes a database for the server unless it is there. */
  createDatabase(name: string): Promise<void> {
    return makeServerDatabase((database) => this.adminUrl(database), name);
  }

  /** Closes it: "fast" (open transactions are rolled back), and after `graceMs` without even that. Nothing committed is lost. */
  async stop(graceMs = 5_000): Promise<void> {
    this.#stopping = true;
    await this.#restart;
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((done) => child.once('exit', () => done()));
    child.kill('SIGINT');
    const timer = this.#timers.after(graceMs, () => child.kill('SIGQUIT'));
    await gone;
    timer.cancel();
  }

  async #launch(): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#spawn();
        return;
      } catch (error) {
        // The backends of a killed server need a moment to notice and to release the shared memory.
        if (attempt === 5 || this.#stopping) throw error;
        this.#options.logger.debug('the embedded database did not start, trying again', { err: error });
        await this.#timers.sleep(200 * attempt);
      }
    }
  }

  #spawn(): Promise<void> {
    const settings = { ...SETTINGS, ...this.#options.settings };
    const child = spawn(
      this.#binaries.postgres,
      [
        '-D',
        this.#cluster.folder,
        ...this.#listener.args,
        ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`]),
      ],
      // A session of its own: Ctrl-C in the terminal must only reach this process, which closes the database last.
      { ...this.#user, cwd: this.#cluster.folder, stdio: ['ignore', 'ignore', 'pipe'], detached: true },
    );
    this.#process = child;
    const said: string[] = [];
    return new Promise<void>((ready, fail) => {
      let up = false;
      const timer = this.#timers.after(START_TIMEOUT_MS, () => child.kill('SIGQUIT'));
      child.on('error', (error) => {
        timer.cancel();
        fail(error);
      });
      child.stderr?.on('data', (chunk: Buffer) => {
        for (const line of chunk.toString().split('\n').filter(Boolean)) {
          said.push(line);
          if (said.length > 20) said.shift();
          this.#log(line);
        }
        if (!up && said.some((line) => line.includes('ready to accept connections'))) {
          up = true;
          timer.cancel();
          ready();
        }
      });
      child.on('exit', (code, signal) => {
        timer.cancel();
        if (this.#process === child) this.#process = undefined;
        if (!up) fail(new Error(`PostgreSQL did not start (${signal ?? `exit code ${code}`}): ${said.join('\n')}`));
        else if (!this.#stopping) this.#revive(signal ?? `exit code ${code}`);
      });
    });
  }

  #revive(reason: string): void {
    this.#options.logger.error('the embedded database crashed and is restarted', { reason });
    this.#restart = (async () => {
      while (!this.#stopping) {
        try {
          await clearLeftovers(this.#cluster.folder, this.#binaries, this.#user, this.#timers, this.#options.logger);
          await this.#launch();
          this.#options.logger.info('the embedded database is running again');
          return;
        } catch (err) {
          this.#flood.write('error', 'start', 'the embedded database does not start', { err });
          await this.#timers.sleep(1_000);
        }
      }
    })();
  }

  #log(line: string): void {
    const { logger } = this.#options;
    // Each connection that is refused while it starts is one of these.
    if (/^(FATAL|PANIC):/.test(line)) this.#flood.write('warn', line, `postgres: ${line}`, {});
    else logger.debug(`postgres: ${line}`);
  }
}

/** A Unix socket in the data directory, if the path is short enough and the database's user can get there. */
async function socketListener(dataDir: string, user: PostgresUser | undefined): Promise<Listener | undefined> {
  const folder = join(dataDir, 'run');
  const socket = join(folder, `.s.PGSQL.${SOCKET_NUMBER}`);
  if (process.platform === 'win32' || Buffer.byteLength(socket) > MAX_SOCKET_PATH_LENGTH) return undefined;
  // Who can enter this folder can use the database: only its user, and root.
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (user !== undefined) await chown(folder, user.uid, user.gid);
  if (!(await isReachable(folder, user))) return undefined;
  return {
    args: [
      '-p',
      String(SOCKET_NUMBER),
      '-c',
      'listen_addresses=',
      '-c',
      // A list, in which quotes protect commas and spaces.
      `unix_socket_directories="${folder.replaceAll('"', '""')}"`,
    ],
    url: (database, role) =>
      `postgresql://${role}@localhost:${SOCKET_NUMBER}/${encodeURIComponent(database)}?host=${encodeURIComponent(folder)}`,
  };
}

async function loopbackListener(password: string): Promise<Listener> {
  const port = await freePort();
  return {
    args: ['-p', String(port), '-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories='],
    url: (database, role) =>
      `postgresql://${role}:${encodeURIComponent(password)}@127.0.0.1:${port}/${encodeURIComponent(database)}`,
  };
}

function freePort(): Promise<number> {
  return new Promise((done, fail) => {
    const probe = createServer();
    probe.on('error', fail);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => {
        if (address !== null && typeof address === 'object') done(address.port);
        else fail(new Error('no free loopback port'));
      });
    });
  });
}
