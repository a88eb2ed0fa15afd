import { EventFollower } from '#src/services/events/stream/event-follower.ts';
import { DIRECTORY_TYPES, DirectoryEntries } from '#src/services/reading/user-directory/directory-entries.ts';
import { UserDirectory } from '#src/services/reading/user-directory/user-directory.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';
import type { EventStreaming } from './event-stream.ts';
import type { RoomModel } from './room-model.ts';
import type { Users } from './users.ts';

/** Users who are found. */
export interface People {
  readonly directoryEntries: DirectoryEntries;
  readonly userDirectory: UserDirectory;
}

export function composeUserDirectory(below: Platform & Commit & Users & RoomModel & EventStreaming): Slice<People> {
  const { accountStream, clock, config, database, interner, loader, logger, metrics, profiles } = below;
  const { rooms, stream, timers, users, writer } = below;
  const { enabled, searchAllUsers } = config.userDirectory;
  const directoryEntries = new DirectoryEntries({ database, interner, accountStream, users, profiles });
  const follower = new EventFollower({
    database,
    interner,
    loader,
    rooms,
    writer,
    stream,
    clock,
    timers,
    logger,
    metrics,
    name: 'user_directory',
    types: DIRECTORY_TYPES,
    take: (batch) => directoryEntries.take(batch),
  });
  return {
    name: 'user-directory',
    services: {
      directoryEntries,
      userDirectory: new UserDirectory({ database, entries: directoryEntries, follower, enabled, searchAllUsers }),
    },
    start: () => follower.start(),
    idle: () => follower.idle(),
    async close() {
      await writer.idle();
      await follower.close();
    },
  };
}
