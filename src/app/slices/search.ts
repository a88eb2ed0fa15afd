import { SearchContexts } from '#src/services/reading/search/search-context.ts';
import { INDEXED_TYPES, SearchIndex } from '#src/services/reading/search/search-index.ts';
import { SearchPages } from '#src/services/reading/search/search-pages.ts';
import { SearchScopes } from '#src/services/reading/search/search-scope.ts';
import { SearchService } from '#src/services/reading/search/search-service.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';
import type { EventStreaming } from './event-stream.ts';
import { composeFollower } from './follower.ts';
import type { Reading } from './reading.ts';
import type { RoomModel } from './room-model.ts';
import type { UserData } from './user-data.ts';

/** Search for messages, room names and topics. */
export interface Search {
  readonly search: SearchService;
  readonly searchIndex: SearchIndex;
}

export function composeSearch(
  below: Platform & Commit & UserData & RoomModel & EventStreaming & Reading,
): Slice<Search> {
  const { access, clientEvents, historyPages, roomState, visibility } = below;
  const { database, ignoredUsers, interner, loader, rooms } = below;
  const searchIndex = new SearchIndex(database);
  const { follower, close } = composeFollower(below, {
    name: 'search',
    types: INDEXED_TYPES,
    take: (batch) => searchIndex.take(batch),
  });
  return {
    name: 'search',
    services: {
      search: new SearchService({
        maxBytes: below.config.http.maxPageBytes,
        database,
        interner,
        scopes: new SearchScopes({ database, interner, rooms }),
        pages: new SearchPages({ database, rooms, loader, visibility }),
        contexts: new SearchContexts({ access, pages: historyPages, roomState, writer: clientEvents }),
        roomState,
        writer: clientEvents,
        ignoredUsers,
        follower,
      }),
      searchIndex,
    },
    start: () => follower.start(),
    idle: () => follower.idle(),
    close,
  };
}
