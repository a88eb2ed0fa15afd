import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

/** The releases that are run as they are. */
export const HEISENBRIDGE = 'heisenbridge==1.15.4';
export const MAUTRIX = 'mautrix==0.20.8';
/** What mautrix encrypts with. It is compiled on installation, and not everywhere can be. */
const ENCRYPTION = ['python-olm==3.2.16', 'unpaddedbase64', 'pycryptodome', 'base58', 'aiosqlite'];
/** How long the installation may take, in milliseconds. */
export const INSTALLATION_MS = 240_000;

const CONSTRAINTS = join(import.meta.dirname, 'constraints.txt');

export interface PythonWithBridges {
  readonly python: string;
  /** Whether mautrix can encrypt. */
  readonly encrypts: boolean;
}

/** A folder of its own for each set of packages. */
function folder(): string {
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'tsudoi');
  const packages = [HEISENBRIDGE, MAUTRIX, ...ENCRYPTION, readFileSync(CONSTRAINTS)].join();
  return join(cache, `bridges-${createHash('sha256').update(packages).digest('hex').slice(0, 12)}`);
}

/**
 * The Python that has the bridges, installed into a virtual environment in the user's cache folder if it is not there yet.
 *
 * @returns what it is, or why there is none
 */
export function pythonWithBridges(timeoutMs = INSTALLATION_MS): PythonWithBridges | { readonly reason: string } {
  const home = folder();
  const python = join(home, 'bin', 'python');
  const deadline = Date.now() + timeoutMs;
  const run = (command: string, ...parameters: readonly string[]): string | undefined => {
    const { status, error, stderr } = spawnSync(command, parameters, {
      timeout: Math.max(1, deadline - Date.now()),
      encoding: 'utf8',
      killSignal: 'SIGKILL',
    });
    return status === 0 ? undefined : (error?.message ?? stderr.trim().split('\n').at(-1) ?? 'failed');
  };
  const found = (): PythonWithBridges => ({ python, encrypts: run(python, '-c', 'import olm') === undefined });
  if (existsSync(python)) return found();
  const half = `${home}.${process.pid}`;
  mkdirSync(dirname(home), { recursive: true });
  try {
    const pip = ['-m', 'pip', 'install', '--quiet', '--retries', '1', '-c', CONSTRAINTS];
    const failure =
      run('python3', '-m', 'venv', half) ??
      run(join(half, 'bin', 'python'), ...pip, '--only-binary', ':all:', MAUTRIX, HEISENBRIDGE) ??
      run(join(half, 'bin', 'python'), '-c', 'import heisenbridge, mautrix.appservice');
    if (failure !== undefined) return { reason: failure };
    run(join(half, 'bin', 'python'), ...pip, ...ENCRYPTION);
    // Only what is complete gets the name that is looked for.
    renameSync(half, home);
    return found();
  } catch (error) {
    if (existsSync(python)) return found();
    return { reason: String(error) };
  } finally {
    rmSync(half, { recursive: true, force: true });
  }
}
