import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { INSTALLATION_MS, pythonWith } from '../python-environment.ts';

/** The releases that are run as they are. */
export const HEISENBRIDGE = 'heisenbridge==1.15.4';
export const MAUTRIX = 'mautrix==0.20.8';
/** What mautrix encrypts with. It is compiled on installation, and not everywhere can be. */
const ENCRYPTION = ['python-olm==3.2.16', 'unpaddedbase64', 'pycryptodome', 'base58', 'aiosqlite'];

export { INSTALLATION_MS };

export interface PythonWithBridges {
  readonly python: string;
  /** Whether mautrix can encrypt. */
  readonly encrypts: boolean;
}

/** The Python that has the bridges, or why there is none. */
export function pythonWithBridges(timeoutMs = INSTALLATION_MS): PythonWithBridges | { readonly reason: string } {
  const found = pythonWith(
    {
      name: 'bridges',
      packages: [MAUTRIX, HEISENBRIDGE],
      optional: ENCRYPTION,
      constraints: join(import.meta.dirname, 'constraints.txt'),
      modules: 'heisenbridge, mautrix.appservice',
    },
    timeoutMs,
  );
  if ('reason' in found) return found;
  const { status } = spawnSync(found.python, ['-c', 'import olm'], { timeout: 30_000, killSignal: 'SIGKILL' });
  return { python: found.python, encrypts: status === 0 };
}
