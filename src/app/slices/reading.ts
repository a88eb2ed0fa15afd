import { RoomAccess } from '#src/services/reading/access/room-access.ts';
import { ClientEvents } from '#src/services/reading/client-events/client-events.ts';
import { EventByTime } from '#src/services/reading/history/event-by-time.ts';
import { EventFinder } from '#src/services/reading/history/event-finder.ts';
import { EventLookup } from '#src/services/reading/history/event-lookup.ts';
import { HistoryPages } from '#src/services/reading/history/history-pages.ts';
import { HistoryTokens } from '#src/services/reading/history/history-tokens.ts';
import { History } from '#src/services/reading/history/history.ts';
import { Aggregations } from '#src/services/reading/relations/bundled-aggregations.ts';
import { RelationIndex } from '#src/services/reading/relations/relation-index.ts';
import { RelationRules } from '#src/services/reading/relations/relation-rules.ts';
import { Relations } from '#src/services/reading/relations/relations.ts';
import { ThreadsList } from '#src/services/reading/relations/threads-list.ts';
import { RoomState } from '#src/services/reading/state/room-state.ts';
import { ErasedUsers } from '#src/services/reading/visibility/erased-senders.ts';
import { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';
import type { EventStreaming } from './event-stream.ts';
import type { FederationHistory } from './federation-history.ts';
import type { Events } from './events.ts';
import type { RoomModel } from './room-model.ts';
import type { UserData } from './user-data.ts';
import type { Users } from './users.ts';

/** History visibility, and the ways to read events. */
export interface Reading {
  readonly erasedUsers: ErasedUsers;
  readonly access: RoomAccess;
  readonly visibility: EventVisibility;
  readonly finder: EventFinder;
  readonly roomState: RoomState;
  /** Relations between events. */
  readonly relationIndex: RelationIndex;
  readonly aggregations: Aggregations;
  readonly relationRules: RelationRules;
  readonly relations: Relations;
  readonly threads: ThreadsList;
  /** Serializes events for clients, with bundled aggregations. */
  readonly clientEvents: ClientEvents;
  readonly historyPages: HistoryPages;
  readonly history: History;
  readonly eventByTime: EventByTime;
  readonly eventLookup: EventLookup;
}

export function composeReading(
  below: Platform & Commit & Users & UserData & RoomModel & EventStreaming & Events & FederationHistory,
): Slice<Reading> {
  const { accountStream, clock, config, database, events, interner, loader, rooms, states, stream } = below;
  const { maxPageBytes: maxBytes } = config.http;
  const ignoredUsers = (userId: string): Promise<ReadonlySet<string>> => below.ignoredUsers.of(userId);
  const erased = new ErasedUsers(database, accountStream);
  const visibility = new EventVisibility(interner, loader, states, events.sticky, erased);
  const access = new RoomAccess({ rooms, loader, states, past: visibility.past });
  const finder = new EventFinder(events, visibility, { past: below.backfill, ignoredUsers: below.ignoredUsers });
  const tokens = new HistoryTokens(database, loader);
  const index = new RelationIndex({ database, interner, stream });
  const aggregations = new Aggregations({ index, loader, visibility, clock, ignoredUsers, maxBytes });
  const clientEvents = new ClientEvents(clock, aggregations, events.sticky);
  const writer = clientEvents;
  const stored = { database, interner, loader };
  const related = { ...stored, access, visibility, finder, tokens, ignoredUsers, index, writer, maxBytes };
  const roomState = new RoomState({
    access,
    wholeState: below.wholeState,
    visibility,
    clock,
    database,
    interner,
    loader,
    states,
  });
  const historyPages = new HistoryPages({
    maxBytes,
    database,
    interner,
    loader,
    visibility,
    ignoredUsers: below.ignoredUsers,
    past: below.backfill,
  });
  const history = new History({ access, finder, pages: historyPages, tokens, state: roomState, writer: clientEvents });
  return {
    name: 'reading',
    services: {
      erasedUsers: erased,
      access,
      visibility,
      finder,
      roomState,
      relationIndex: index,
      aggregations,
      relationRules: new RelationRules({ database, events, index, interner, loader }),
      relations: new Relations(related),
      threads: new ThreadsList(related),
      clientEvents,
      historyPages,
      history,
      eventByTime: new EventByTime({ access, database, loader, visibility, past: below.backfill }),
      eventLookup: new EventLookup({ database, rooms, history }),
    },
    start: () => erased.start(),
  };
}
