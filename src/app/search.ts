import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import { IgnoredUsers } from '#src/services/user-data/account-data/ignored-users.ts';
import { EventFollower } from '#src/services/events/stream/event-follower.ts';
import { HistoryPages } from '#src/services/reading/history/history-pages.ts';
import { SearchContexts } from '#src/services/reading/search/search-context.ts';
import { INDEXED_TYPES, SearchIndex } from '#src/services/reading/search/search-index.ts';
import { SearchPages } from '#src/services/reading/search/search-pages.ts';
import { SearchScopes } from '#src/services/reading/search/search-scope.ts';
import { SearchService } from '#src/services/reading/search/search-service.ts';
import type { ProfileService } from '#src/services/user-data/profiles/profile-service.ts';
import { DIRECTORY_TYPES, UserDirectory } from '#src/services/reading/user-directory/user-directory.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import type { Platform } from './platform.ts';
import type { Rooms, RoomStore } from './rooms.ts';

/** Something that follows what happens. */
interface Following {
  /** Begins to. To be called once the writer has started. */
  start(): Promise<void>;
  /** Resolves when everything that was committed before is taken in. */
  idle(): Promise<void>;
  /** Takes in what waits. To be called once the writer is closed. */
  close(): Promise<void>;
}

/** What is found: messages, names and topics of rooms. */
export interface Search extends Following {
  readonly search: SearchService;
  readonly searchIndex: SearchIndex;
}

export interface People extends Following {
  readonly userDirectory: UserDirectory;
}

export function composeSearch(
  platform: Pick<Platform, 'database' | 'logger' | 'timers'>,
  store: Pick<RoomStore, 'interner' | 'loader' | 'rooms' | 'stream' | 'writer'>,
  { access, roomState, visibility, clientEvents }: Pick<Rooms, 'access' | 'roomState' | 'visibility' | 'clientEvents'>,
  accountData: AccountDataService,
): Search {
  const { database, logger, timers } = platform;
  const { interner, loader, rooms } = store;
  const searchIndex = new SearchIndex(database);
  const follower = new EventFollower({
    database,
    ...store,
    timers,
    logger,
    name: 'search',
    types: INDEXED_TYPES,
    take: (batch) => searchIndex.take(batch),
  });
  const ignoredUsers = new IgnoredUsers(accountData);
  const search = new SearchService({
    database,
    interner,
    scopes: new SearchScopes({ database, interner, rooms }),
    pages: new SearchPages({ database, rooms, loader, visibility }),
    contexts: new SearchContexts({
      access,
      pages: new HistoryPages({ database, interner, loader, visibility, ignoredUsers }),
      roomState,
      writer: clientEvents,
    }),
    roomState,
    writer: clientEvents,
    ignoredUsers,
  });
  return {
    search,
    searchIndex,
    start: () => follower.start(),
    idle: () => follower.idle(),
    close: () => follower.close(),
  };
}

/** Who is found. */
export function composePeople(
  platform: Pick<Platform, 'config' | 'database' | 'logger' | 'timers'>,
  store: Pick<RoomStore, 'interner' | 'loader' | 'rooms' | 'stream' | 'writer'>,
  { users, profiles }: { readonly users: UserService; readonly profiles: ProfileService },
): People {
  const { config, database, logger, timers } = platform;
  const { enabled, searchAllUsers } = config.userDirectory;
  const { interner } = store;
  const userDirectory = new UserDirectory({ database, interner, users, profiles, logger, enabled, searchAllUsers });
  const follower = new EventFollower({
    database,
    ...store,
    timers,
    logger,
    name: 'user_directory',
    types: DIRECTORY_TYPES,
    take: (batch) => userDirectory.take(batch),
  });
  return {
    userDirectory,
    async start() {
      userDirectory.resume();
      await follower.start();
    },
    async idle() {
      await userDirectory.idle();
      await follower.idle();
    },
    async close() {
      await userDirectory.idle();
      await follower.close();
    },
  };
}
