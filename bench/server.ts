import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import type { Endpoint } from './load/http.ts';
import { processMs } from './process-times.ts';

const HOME = fileURLToPath(new URL('../', import.meta.url));
const TSUDOI = join(HOME, 'bin', 'tsudoi');
const READY_MS = 60_000;
const STOP_MS = 15_000;
/** Enough for 20 000 sockets and other files. */
export const WANTED_FILES = 65_536;

/** All clients of a bench come from one machine. */
const MANY_CONNECTIONS = {
  TSUDOI_HTTP__MAX_CONNECTIONS: '60000',
  TSUDOI_HTTP__MAX_CONNECTIONS_PER_ADDRESS: '30000',
};

export interface BenchServerOptions {
  /** `password.cost`. Low unless hashing is what is measured. */
  readonly passwordCost?: 'production' | 'low';
  /** How many connections it takes: `shipped` leaves that as it is configured. Default: as many as a load needs. */
  readonly connections?: 'shipped' | 'many';
  /** More environment for the server. */
  readonly env?: Readonly<Record<string, string>>;
}

const alive = new Set<BenchServer>();

/**
 * A real server: `bin/tsudoi start` as a child process, with the embedded database, a data directory of its own and a free
 * loopback port. Configured as shipped (request log, fsync and all), but without rate limits.
 */
export class BenchServer {
  readonly endpoint: Endpoint;
  readonly dataDir: string;
  /** Port of the inspector; undefined without profiling. */
  readonly inspectPort: number | undefined;
  #env: Readonly<Record<string, string>>;
  #process: ChildProcess | undefined;
  #exit: Promise<void> = Promise.resolve();
  #database: pg.Client | undefined;

  private constructor(port: number, dataDir: string, inspectPort: number | undefined, options: BenchServerOptions) {
    this.endpoint = { host: '127.0.0.1', port };
    this.dataDir = dataDir;
    this.inspectPort = inspectPort;
    this.#env = {
      ...environmentWithoutTsudoi(),
      TSUDOI_HTTP__PORT: String(port),
      TSUDOI_DATA_DIR: dataDir,
      TSUDOI_PASSWORD__COST: options.passwordCost ?? 'low',
      TSUDOI_REGISTRATION__ENABLED: 'true',
      TSUDOI_RATE_LIMITS__ENABLED: 'false',
      ...(options.connections === 'shipped' ? {} : MANY_CONNECTIONS),
      ...options.env,
    };
  }

  static async start(options: BenchServerOptions = {}, inspect = false): Promise<BenchServer> {
    const dataDir = await mkdtemp(join(tmpdir(), 'tsudoi-bench-'));
    const server = new BenchServer(await freePort(), dataDir, inspect ? await freePort() : undefined, options);
    alive.add(server);
    try {
      await server.launch();
    } catch (error) {
      await server.dispose();
      throw error;
    }
    return server;
  }

  /** @throws while it is down */
  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error(`the server is down; it said last:\n${this.lastWords().slice(-3000)}`);
    return pid;
  }

  /** Milliseconds of processor time that it took so far. NaN where there is no /proc. */
  get processMs(): number {
    return processMs(this.pid) ?? Number.NaN;
  }

  /** Process id of the embedded PostgreSQL. */
  get postgresPid(): number {
    return Number(this.#postmasterFile()[0]);
  }

  /** Starts the process (again) and waits until it is ready. */
  async launch(): Promise<void> {
    const log = openSync(join(this.dataDir, 'server.log'), 'a');
    // A shell raises the limit of open files, if allowed, and then execs the server.
    const raise = `ulimit -n ${WANTED_FILES} 2>/dev/null || ulimit -n "$(ulimit -H -n)" 2>/dev/null; exec "$0" "$@"`;
    const env =
      this.inspectPort === undefined
        ? this.#env
        : { ...this.#env, NODE_OPTIONS: `--inspect=127.0.0.1:${this.inspectPort}` };
    const child = spawn('sh', ['-c', raise, TSUDOI, 'start'], { env, cwd: HOME, stdio: ['ignore', log, log] });
    closeSync(log);
    this.#process = child;
    this.#exit = new Promise((resolve) => {
      child.once('exit', () => {
        if (this.#process === child) this.#process = undefined;
        resolve();
      });
    });
    const deadline = Date.now() + READY_MS;
    while (Date.now() < deadline) {
      if (this.#process === undefined) throw new Error(`the server did not start:\n${this.lastWords().slice(-3000)}`);
      const response = await fetch(`${this.url}/_matrix/client/versions`).catch(() => undefined);
      await response?.arrayBuffer();
      if (response?.status === 200) return;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`the server was not ready in ${READY_MS} ms:\n${this.lastWords().slice(-3000)}`);
  }

  get url(): string {
    return `http://${this.endpoint.host}:${this.endpoint.port}`;
  }

  /** The end of its log. */
  lastWords(): string {
    try {
      return readFileSync(join(this.dataDir, 'server.log'), 'utf8').slice(-20_000);
    } catch {
      return '';
    }
  }

  /** The path of the link with which the first administrator is made, as its log told it last. */
  setupLink(): string | undefined {
    const log = readFileSync(join(this.dataDir, 'server.log'), 'utf8');
    return [...log.matchAll(/\/_tsudoi\/setup\?token=[\w-]+/g)].at(-1)?.[0];
  }

  /**
   * Long turns of the event loop since `offset` of the log, with duration and processor time; and the new length of
   * log is now.
   */
  held(offset: number): { readonly turns: readonly string[]; readonly offset: number } {
    const log = readFileSync(join(this.dataDir, 'server.log'));
    const turns = [
      ...log
        .toString('utf8', offset)
        .matchAll(/"operation":"([^"]+)","ms":\d+,"longest_ms":(\d+),"processor_ms":(\d+)/g),
    ];
    return { turns: turns.map(([, operation, ms, own]) => `${operation} ${ms} (${own}) ms`), offset: log.length };
  }

  /** Whether it has returned the disk space of a table since it was last started. */
  hasReclaimed(table: string): boolean {
    return new RegExp(`"table":"${table}","bytes":\\d+`).test(readFileSync(join(this.dataDir, 'server.log'), 'utf8'));
  }

  /** The last lines of its log that are more than information. */
  complaints(): string[] {
    return this.lastWords()
      .split('\n')
      .slice(1)
      .filter((line) => line !== '' && !line.includes('"level":"info"'))
      .map((line) => line.slice(0, 600))
      .slice(-4);
  }

  /**
   * Stops it and its database in good order and starts both again on the same data. Milliseconds that each took.
   *
   * @param env more environment from then on
   */
  async restart(
    env: Readonly<Record<string, string>> = {},
  ): Promise<{ readonly stopMs: number; readonly startMs: number }> {
    await this.#closeDatabase();
    const begun = performance.now();
    this.#process?.kill('SIGTERM');
    const late = setTimeout(() => this.#process?.kill('SIGKILL'), STOP_MS);
    await this.#exit;
    clearTimeout(late);
    const stopped = performance.now();
    this.#env = { ...this.#env, ...env };
    await this.launch();
    return { stopMs: stopped - begun, startMs: performance.now() - stopped };
  }

  /** URL of a database in the embedded PostgreSQL. */
  async databaseUrl(name: string): Promise<string> {
    const [, , , port, socketFolder, address] = this.#postmasterFile();
    const password = (await readFile(join(this.dataDir, 'postgres.password'), 'utf8')).trim();
    const url = new URL(`postgresql://tsudoi@localhost:${port}/${name}`);
    url.password = password;
    url.searchParams.set('host', (socketFolder === '' ? address : socketFolder) ?? '');
    return url.href;
  }

  /** Rows of a statement on a connection of our own, which the server's counters do not see. */
  async sql<R extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []): Promise<R[]> {
    if (this.#database === undefined) {
      const [, , , port, socketFolder, address] = this.#postmasterFile();
      const client = new pg.Client({
        host: socketFolder === '' ? address : socketFolder,
        port: Number(port),
        user: 'tsudoi',
        database: 'tsudoi',
        password: (await readFile(join(this.dataDir, 'postgres.password'), 'utf8')).trim(),
      });
      client.on('error', () => undefined);
      await client.connect();
      this.#database = client;
    }
    return (await this.#database.query<R>(text, [...values])).rows;
  }

  /** Its metrics by name; of those with labels, the sum. */
  async metrics(): Promise<Map<string, number>> {
    const response = await fetch(`${this.url}/metrics`);
    const text = await response.text();
    if (response.status !== 200) throw new Error(`/metrics answered ${response.status}`);
    const found = new Map<string, number>();
    for (const line of text.split('\n')) {
      const match = /^([a-zA-Z_:][\w:]*)(?:\{[^}]*\})? (\S+)/.exec(line);
      if (match === null) continue;
      found.set(match[1]!, (found.get(match[1]!) ?? 0) + Number(match[2]));
    }
    return found;
  }

  /**
   * Bytes of memory that it is configured to take beside what it needs in any case: what caches may hold, and do, and what may be on its way
   * in and out.
   */
  async memoryBudgets(): Promise<{ readonly caches: number; readonly held: number; readonly inFlight: number }> {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const sum = (pattern: RegExp): number =>
      [...text.matchAll(pattern)].reduce((total, [, value]) => total + Number(value), 0);
    return {
      caches: sum(/^tsudoi_cache_size_limit\{[^}]*unit="bytes"\} (\S+)/gm),
      held: sum(/^tsudoi_cache_size\{[^}]*unit="bytes"\} (\S+)/gm),
      inFlight: sum(/^tsudoi_bytes_in_flight_limit (\S+)/gm),
    };
  }

  /** Summary of its memory for the report. */
  async heap(): Promise<string> {
    const metrics = await this.metrics();
    const of = (name: string): string => `${Math.round((metrics.get(name) ?? Number.NaN) / 1024 ** 2)} MiB`;
    return `heap ${of('nodejs_heap_size_used_bytes')} used of ${of('nodejs_heap_size_total_bytes')}, ${of('nodejs_external_memory_bytes')} outside it`;
  }

  /** Kills the server and its database, and deletes its data. */
  async dispose(): Promise<void> {
    if (!alive.delete(this)) return;
    await this.#closeDatabase();
    this.endNow();
    await this.#exit;
    await rm(this.dataDir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }

  /** The part of `dispose` that also works while this process exits. */
  endNow(): void {
    this.#process?.kill('SIGKILL');
    try {
      process.kill(this.postgresPid, 'SIGQUIT');
    } catch {
      // It is down already, or was never there.
    }
  }

  async #closeDatabase(): Promise<void> {
    const client = this.#database;
    this.#database = undefined;
    await client?.end().catch(() => undefined);
  }

  #postmasterFile(): string[] {
    return readFileSync(join(this.dataDir, 'postgres', 'postmaster.pid'), 'utf8').split('\n');
  }
}

process.once('exit', () => {
  for (const server of alive) {
    server.endNow();
    try {
      rmSync(server.dataDir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    } catch {
      // PostgreSQL may still be writing; it is in the folder for temporary files.
    }
  }
});

/** Raises this process's limit of open files where that is allowed. How many it may open now. */
export async function raiseOwnFileLimit(): Promise<number> {
  const files = String(WANTED_FILES);
  await new Promise<void>((resolve) => {
    execFile('prlimit', ['--pid', String(process.pid), `--nofile=${files}:${files}`], () => resolve());
  });
  return openFileLimit(process.pid);
}

/** How many files a process may have open; a cautious guess where /proc does not tell. */
export function openFileLimit(pid: number): number {
  try {
    const soft = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))?.[1];
    return soft === undefined ? 1024 : soft === 'unlimited' ? WANTED_FILES : Number(soft);
  } catch {
    return 4096;
  }
}

function environmentWithoutTsudoi(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter(
      (entry): entry is [string, string] => entry[1] !== undefined && !entry[0].startsWith('TSUDOI_'),
    ),
  );
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => {
        if (address !== null && typeof address === 'object') resolve(address.port);
        else reject(new Error('no free port'));
      });
    });
  });
}
