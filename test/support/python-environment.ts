import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

/** How long the installation may take, in milliseconds. */
export const INSTALLATION_MS = 240_000;

export interface PythonPackages {
  /** Begins the name of the folder. */
  readonly name: string;
  readonly packages: readonly string[];
  /** What it can do without, where it cannot be installed: it may have to be compiled. */
  readonly optional?: readonly string[];
  /** File with constraints for pip. */
  readonly constraints?: string;
  /** Python modules that have to be there then. */
  readonly modules: string;
}

/**
 * A Python that has these packages, installed into a virtual environment in the user's cache folder if it is not there yet: a folder of its own
 * for each set of packages.
 *
 * @returns the path of its `python`, or why there is none
 */
export function pythonWith(
  { constraints, modules, name, optional = [], packages }: PythonPackages,
  timeoutMs = INSTALLATION_MS,
): { readonly python: string } | { readonly reason: string } {
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'tsudoi');
  const limits = constraints === undefined ? '' : readFileSync(constraints, 'utf8');
  const digest = createHash('sha256')
    .update([...packages, ...optional, limits].join())
    .digest('hex');
  const home = join(cache, `${name}-${digest.slice(0, 12)}`);
  const python = join(home, 'bin', 'python');
  if (existsSync(python)) return { python };
  const deadline = Date.now() + timeoutMs;
  const run = (command: string, ...parameters: readonly string[]): string | undefined => {
    const { status, error, stderr } = spawnSync(command, parameters, {
      timeout: Math.max(1, deadline - Date.now()),
      encoding: 'utf8',
      killSignal: 'SIGKILL',
    });
    return status === 0 ? undefined : (error?.message ?? stderr.trim().split('\n').at(-1) ?? 'failed');
  };
  const half = `${home}.${process.pid}`;
  mkdirSync(dirname(home), { recursive: true });
  try {
    const pip = ['-m', 'pip', 'install', '--quiet', '--retries', '1', ...(constraints ? ['-c', constraints] : [])];
    const failure =
      run('python3', '-m', 'venv', half) ??
      run(join(half, 'bin', 'python'), ...pip, '--only-binary', ':all:', ...packages) ??
      run(join(half, 'bin', 'python'), '-c', `import ${modules}`);
    if (failure !== undefined) return { reason: failure };
    if (optional.length > 0) run(join(half, 'bin', 'python'), ...pip, ...optional);
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
