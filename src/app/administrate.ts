import type { Administration } from '#src/cli/ports.ts';
import { silentLogger } from '#src/kernel/logger.ts';
import { systemRandom } from '#src/kernel/random.ts';
import { composeServices } from './composition.ts';
import type { Config } from './config/config.ts';
import { openPlatform, type OpenPlatform } from './ground/platform.ts';
import { openServerFiles } from './ground/server-files.ts';

/**
 * Runs an action with the services of a server that is not running: they are composed but not started. Work that
 * follows from it is a job, which the server does when it starts.
 *
 * @throws when the server runs, with a message for the operator
 */
export async function administrate<T>(
  config: Config,
  work: (administration: Administration) => Promise<T>,
): Promise<T> {
  const platform = await open(config);
  try {
    const files = await openServerFiles(config, systemRandom);
    const composition = composeServices({ ...platform, ...files });
    const { historyPurges, roomDeletions, userAdministration, userListing } = composition.services;
    try {
      return await work({
        serverName: config.serverName,
        users: userAdministration,
        listing: userListing,
        deletions: roomDeletions,
        purges: historyPurges,
      });
    } finally {
      await composition.close(silentLogger);
    }
  } finally {
    await platform.close();
  }
}

async function open(config: Config): Promise<OpenPlatform> {
  try {
    return await openPlatform(config, silentLogger);
  } catch (error) {
    const { message } = error as Error;
    if (!message.includes('in use by another server')) throw error;
    throw new Error(
      'The server runs, and would not hear of it: stop it first, or do the same through its admin API (/_synapse/admin), as an administrator.',
      { cause: error },
    );
  }
}
