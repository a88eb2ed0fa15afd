import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

/** The release that this server is compared and tested with. */
export const SYNAPSE = 'matrix-synapse==1.163.2';
/** How long the installation may take, in milliseconds. */
export const INSTALLATION_MS = 240_000;

const CONSTRAINTS = join(import.meta.dirname, 'constraints.txt');

/** A folder of its own for each set of packages. */
function folder(): string {
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'tsudoi');
  const packages = createHash('sha256').update(readFileSync(CONSTRAINTS)).digest('hex').slice(0, 8);
  return join(cache, `${SYNAPSE.replace('==', '-')}-${packages}`);
}

/**
 * The Python that has Synapse, installed into a virtual environment in the user's cache folder if it is not there yet.
 *
 * @param timeoutMs how long the installation may take
 * @returns its path, or why there is none
 */
export function pythonWithSynapse(
  timeoutMs = INSTALLATION_MS,
): { readonly python: string } | { readonly reason: string } {
  const home = folder();
  const python = join(home, 'bin', 'python');
  if (existsSync(python)) return { python };
  const deadline = Date.now() + timeoutMs;
  const half = `${home}.${process.pid}`;
  const run = (command: string, ...parameters: readonly string[]): string | undefined => {
    const { status, error, stderr } = spawnSync(command, parameters, {
      timeout: Math.max(1, deadline - Date.now()),
      encoding: 'utf8',
      killSignal: 'SIGKILL',
    });
    return status === 0 ? undefined : (error?.message ?? stderr.trim().split('\n').at(-1) ?? 'failed');
  };
  mkdirSync(dirname(home), { recursive: true });
  try {
    const pip = ['-m', 'pip', 'install', '--quiet', '--retries', '1', '--only-binary', ':all:', '-c', CONSTRAINTS];
    const failure =
      run('python3', '-m', 'venv', half) ??
      run(join(half, 'bin', 'python'), ...pip, SYNAPSE) ??
      run(join(half, 'bin', 'python'), '-c', 'import synapse.app.homeserver');
    if (failure !== undefined) return { reason: failure };
    // Only what is complete gets the name that is looked for.
    renameSync(half, home);
    return { python };
  } catch (error) {
    if (existsSync(python)) return { python };
    return { reason: String(error) };
  } finally {
    rmSync(half, { recursive: true, force: true });
  }
}
