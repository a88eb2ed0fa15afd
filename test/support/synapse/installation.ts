import { join } from 'node:path';
import { INSTALLATION_MS, pythonWith } from '#test/support/python-environment.ts';

export { INSTALLATION_MS } from '#test/support/python-environment.ts';

/** The release that this server is compared and tested with. */
export const SYNAPSE = 'matrix-synapse==1.163.2';

const CONSTRAINTS = join(import.meta.dirname, 'constraints.txt');

/**
 * The Python that has Synapse, installed into a virtual environment in the user's cache folder if it is not there yet.
 *
 * @param timeoutMs how long the installation may take
 * @returns its path, or why there is none
 */
export const pythonWithSynapse = (timeoutMs = INSTALLATION_MS): ReturnType<typeof pythonWith> =>
  pythonWith(
    {
      name: SYNAPSE.replace('==', '-'),
      packages: [SYNAPSE],
      constraints: CONSTRAINTS,
      modules: 'synapse.app.homeserver',
    },
    timeoutMs,
  );
