import { DIRECTORY_TYPES, DirectoryEntries } from '#src/services/reading/user-directory/directory-entries.ts';
import { UserDirectory } from '#src/services/reading/user-directory/user-directory.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';
import type { EventStreaming } from './event-stream.ts';
import { composeFollower } from './follower.ts';
import type { Policy } from './policy.ts';
import type { RoomModel } from './room-model.ts';
import type { Users } from './users.ts';

/** The user directory. */
export interface People {
  readonly directoryEntries: DirectoryEntries;
  readonly userDirectory: UserDirectory;
}

export function composeUserDirectory(
  below: Platform & Commit & Users & Policy & RoomModel & EventStreaming,
): Slice<People> {
  const { accountStream, config, database, interner, loader, policyGate: policy, profiles, users } = below;
  const { enabled, searchAllUsers } = config.userDirectory;
  const directoryEntries = new DirectoryEntries({ database, interner, accountStream, loader, users, profiles });
  const { follower, close } = composeFollower(below, {
    name: 'user_directory',
    types: DIRECTORY_TYPES,
    take: (batch) => directoryEntries.take(batch),
  });
  return {
    name: 'user-directory',
    services: {
      directoryEntries,
      userDirectory: new UserDirectory({
        database,
        entries: directoryEntries,
        follower,
        policy,
        enabled,
        searchAllUsers,
      }),
    },
    start: () => follower.start(),
    idle: () => follower.idle(),
    close,
  };
}
