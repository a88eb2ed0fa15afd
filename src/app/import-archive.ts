import { silentLogger } from '#src/kernel/logger.ts';
import { ArchiveImport } from '#src/services/retention/archive-import.ts';
import type { Config } from './config/config.ts';
import { openPlatform } from './ground/platform.ts';
import { Composition } from './ground/slice.ts';
import { composeCommit } from './slices/commit.ts';
import { composeEventStream } from './slices/event-stream.ts';
import { composeRoomModel } from './slices/room-model.ts';

/**
 * Restores archived events on a server that is not running.
 *
 * @returns a sentence about what was done
 * @throws when the server runs, or the file is no archive of its rooms
 */
export async function importArchive(config: Config, path: string): Promise<string> {
  const platform = await openPlatform(config, silentLogger);
  try {
    const { services } = new Composition(platform).add(composeCommit).add(composeRoomModel).add(composeEventStream);
    const { read, restored } = await new ArchiveImport(services).file(path);
    return `${restored} of ${read} events came back${restored < read ? '; the others were there already' : ''}.`;
  } finally {
    await platform.close();
  }
}
