import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { migratedDatabase } from './database.ts';
import { freePort } from './free-port.ts';
import { recordedFetch } from './http.ts';
import { pause } from './until.ts';

const HOME = fileURLToPath(new URL('../../', import.meta.url));
const NODE = join(HOME, 'node_modules', '.bin', 'node');
const READY_MS = 50_000;

export interface ChildServerOptions {
  /** `embedded` (default): a PostgreSQL of the server's own. `shared`: a migrated one on the test run's. Or a URL. */
  readonly database?: string;
  /** More environment, `TSUDOI_...` or other. */
  readonly env?: Readonly<Record<string, string>>;
  /** YAML for a file given with --config. */
  readonly config?: string;
}

const alive = new Set<ChildServer>();

/** A real server: a child process with its own data directory and a free port, started with `node src/main.ts start`. */
export class ChildServer {
  /** Its base URL, without a slash at the end. The same after a restart. */
  readonly url: string;
  readonly port: number;
  readonly dataDir: string;
  /** All that it wrote to standard output and standard error, restarts included. */
  output = '';
  readonly #env: Readonly<Record<string, string>>;
  readonly #args: readonly string[];
  #process: ChildProcess | undefined;
  #exit: Promise<number | null> = Promise.resolve(null);

  private constructor(port: number, dataDir: string, env: Readonly<Record<string, string>>, args: readonly string[]) {
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.dataDir = dataDir;
    this.#env = env;
    this.#args = args;
  }

  /** Starts one and waits until it is ready. */
  static async start(options: ChildServerOptions = {}): Promise<ChildServer> {
    const dataDir = await mkdtemp(join(tmpdir(), 'tsudoi-test-server-'));
    const port = await freePort();
    const database = options.database === 'shared' ? await migratedDatabase() : options.database;
    const args: string[] = [];
    if (options.config !== undefined) {
      const file = join(dataDir, 'test.yaml');
      await writeFile(file, options.config);
      args.push('--config', file);
    }
    const env: Record<string, string> = {
      ...environmentWithoutTsudoi(),
      TSUDOI_HTTP__PORT: String(port),
      TSUDOI_DATA_DIR: dataDir,
      TSUDOI_PASSWORD__COST: 'low',
      TSUDOI_RATE_LIMITS__ENABLED: 'false',
      ...(database === undefined || database === 'embedded' ? {} : { TSUDOI_DATABASE__URL: database }),
      ...options.env,
    };
    const server = new ChildServer(port, dataDir, env, args);
    alive.add(server);
    try {
      await server.launch();
    } catch (error) {
      await server.dispose();
      throw error;
    }
    return server;
  }

  /** The process id; undefined while it is down. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Starts the process (again) and waits until it is ready. */
  async launch(): Promise<void> {
    const child = spawn(NODE, [join(HOME, 'src', 'main.ts'), 'start', ...this.#args], {
      env: this.#env,
      cwd: HOME,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#process = child;
    child.stdout.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    this.#exit = new Promise((resolve) => {
      child.once('exit', (code) => {
        this.#process = undefined;
        resolve(code);
      });
    });
    const deadline = Date.now() + READY_MS;
    while (Date.now() < deadline) {
      if (this.#process === undefined) throw new Error(`the server did not start:\n${this.output}`);
      const response = await recordedFetch(`${this.url}/_matrix/client/versions`).catch(() => undefined);
      await response?.arrayBuffer();
      if (response?.status === 200) return;
      await pause(25);
    }
    throw new Error(`the server was not ready in ${READY_MS} ms:\n${this.output}`);
  }

  /** Sends a signal and waits for the end of the process. Its exit code; null when the signal itself killed it. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    this.#process?.kill(signal);
    return this.#exit;
  }

  /** Stops it with SIGTERM: it drains and exits. */
  stop(): Promise<number | null> {
    return this.kill('SIGTERM');
  }

  /** Runs a command of the program with its settings. @returns its output @throws Error if it fails */
  async command(...args: readonly string[]): Promise<string> {
    const run = promisify(execFile);
    const { stdout } = await run(NODE, [join(HOME, 'src', 'main.ts'), ...args, ...this.#args], {
      env: this.#env,
      cwd: HOME,
    });
    return stdout;
  }

  /** Stops it with `signal` and starts it again on the same data and port. */
  async restart(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.kill(signal);
    await this.launch();
  }

  /** Stops it and its database, in whatever state they are, and deletes its data. */
  async dispose(): Promise<void> {
    if (!alive.delete(this)) return;
    this.#process?.kill('SIGKILL');
    await this.#exit;
    this.endNow();
    await rm(this.dataDir, { recursive: true, force: true });
  }

  /** The part of `dispose` that also works while this process exits. */
  endNow(): void {
    this.#process?.kill('SIGKILL');
    try {
      const [pid] = readFileSync(join(this.dataDir, 'postgres', 'postmaster.pid'), 'utf8').split('\n');
      process.kill(Number(pid), 'SIGQUIT');
    } catch {
      // It has exited already, or was not started by us.
    }
  }
}

/** Ends every server that a test left running. Called by the root hook after the last test. */
export async function disposeChildServers(): Promise<void> {
  await Promise.all([...alive].map((server) => server.dispose()));
}

process.once('exit', () => {
  for (const server of alive) {
    server.endNow();
    rmSync(server.dataDir, { recursive: true, force: true });
  }
});

/** Our environment without settings for a server: variables of the developer's shell must not affect tests. */
export function environmentWithoutTsudoi(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter(
      (entry): entry is [string, string] => entry[1] !== undefined && !entry[0].startsWith('TSUDOI_'),
    ),
  );
}
