import { EventFollower } from '#src/services/events/stream/event-follower.ts';
import { DIRECTORY_TYPES, UserDirectory } from '#src/services/reading/user-directory/user-directory.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Accounts } from './accounts.ts';
import type { Commit } from './commit.ts';
import type { EventStreaming } from './event-stream.ts';
import type { RoomModel } from './room-model.ts';
import type { UserData } from './user-data.ts';

/** Users who are found. */
export interface People {
  readonly userDirectory: UserDirectory;
}

export function composeUserDirectory(
  below: Platform & Commit & Accounts & UserData & RoomModel & EventStreaming,
): Slice<People> {
  const { config, database, interner, loader, logger, profiles, rooms, stream, timers, users, writer } = below;
  const { enabled, searchAllUsers } = config.userDirectory;
  const userDirectory = new UserDirectory({ database, interner, users, profiles, logger, enabled, searchAllUsers });
  const follower = new EventFollower({
    database,
    interner,
    loader,
    rooms,
    writer,
    stream,
    timers,
    logger,
    name: 'user_directory',
    types: DIRECTORY_TYPES,
    take: (batch) => userDirectory.take(batch),
  });
  return {
    name: 'user-directory',
    services: { userDirectory },
    async start() {
      userDirectory.resume();
      await follower.start();
    },
    async idle() {
      await userDirectory.idle();
      await follower.idle();
    },
    async close() {
      await writer.idle();
      await userDirectory.idle();
      await follower.close();
    },
  };
}
