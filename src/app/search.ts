import { EventFollower } from '#src/services/events/event-follower.ts';
import type { EventService } from '#src/services/events/event-service.ts';
import { ClientEvents } from '#src/services/rooms/client-events.ts';
import { HistoryPages } from '#src/services/rooms/history-pages.ts';
import { SearchContexts } from '#src/services/search/search-context.ts';
import { INDEXED_TYPES, SearchIndex } from '#src/services/search/search-index.ts';
import { SearchPages } from '#src/services/search/search-pages.ts';
import { SearchScopes } from '#src/services/search/search-scope.ts';
import { SearchService } from '#src/services/search/search-service.ts';
import type { Platform } from './platform.ts';
import type { Rooms, RoomStore } from './rooms.ts';

/** What is found: messages, names and topics of rooms. */
export interface Search {
  readonly search: SearchService;
  readonly searchIndex: SearchIndex;
  /** Begins to follow what happens. To be called once the writer has started. */
  start(): Promise<void>;
  /** Resolves when everything that was committed before can be found. */
  idle(): Promise<void>;
  /** Takes in what waits. To be called once the writer is closed. */
  close(): Promise<void>;
}

export function composeSearch(
  platform: Pick<Platform, 'database' | 'logger' | 'timers'>,
  store: Pick<RoomStore, 'interner' | 'loader' | 'rooms' | 'writer'>,
  events: EventService,
  { access, roomState, visibility }: Pick<Rooms, 'access' | 'roomState' | 'visibility'>,
  clientEvents: ClientEvents = new ClientEvents(events.transactions),
): Search {
  const { database, logger, timers } = platform;
  const { interner, loader, rooms } = store;
  const searchIndex = new SearchIndex(database);
  const follower = new EventFollower({
    database,
    ...store,
    events,
    timers,
    logger,
    name: 'search',
    types: INDEXED_TYPES,
    take: (batch) => searchIndex.take(batch),
  });
  const search = new SearchService({
    database,
    interner,
    scopes: new SearchScopes({ database, interner, rooms }),
    pages: new SearchPages({ database, rooms, loader, visibility }),
    contexts: new SearchContexts({
      access,
      pages: new HistoryPages({ database, interner, loader, visibility }),
      roomState,
      writer: clientEvents,
    }),
    roomState,
    writer: clientEvents,
  });
  return {
    search,
    searchIndex,
    start: () => follower.start(),
    idle: () => follower.idle(),
    close: () => follower.close(),
  };
}
