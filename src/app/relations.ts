import { IgnoredUsers } from '#src/services/user-data/account-data/ignored-users.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import { Aggregations } from '#src/services/reading/relations/bundled-aggregations.ts';
import { RelationIndex } from '#src/services/reading/relations/relation-index.ts';
import { RelationRules } from '#src/services/reading/relations/relation-rules.ts';
import { Relations } from '#src/services/reading/relations/relations.ts';
import { ThreadsList } from '#src/services/reading/relations/threads-list.ts';
import { ClientEvents } from '#src/services/reading/client-events/client-events.ts';
import type { EventFinder } from '#src/services/reading/history/event-finder.ts';
import type { HistoryTokens } from '#src/services/reading/history/history-tokens.ts';
import type { RoomAccess } from '#src/services/reading/access/room-access.ts';
import type { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { Platform } from './platform.ts';

/** What has to do with events that relate to each other. */
export interface RelationParts {
  /** What relates to what. */
  readonly relationIndex: RelationIndex;
  readonly aggregations: Aggregations;
  readonly relationRules: RelationRules;
  readonly relations: Relations;
  readonly threads: ThreadsList;
  /** Writes events as clients read them, with what relates to them. */
  readonly clientEvents: ClientEvents;
}

export function composeRelations(
  { database }: Pick<Platform, 'database'>,
  {
    interner,
    loader,
    stream,
  }: { readonly interner: Interner; readonly loader: EventLoader; readonly stream: RoomEventStream },
  events: EventService,
  accountData: Pick<AccountDataService, 'peek' | 'load'>,
  parts: {
    readonly access: RoomAccess;
    readonly visibility: EventVisibility;
    readonly finder: EventFinder;
    readonly tokens: HistoryTokens;
  },
): RelationParts {
  const index = new RelationIndex({ database, interner, stream });
  const ignored = new IgnoredUsers(accountData);
  const ignoredUsers = (userId: string): Promise<ReadonlySet<string>> => ignored.of(userId);
  const { visibility } = parts;
  const aggregations = new Aggregations({ index, loader, visibility, clock: events.clock, ignoredUsers });
  const writer = new ClientEvents(events.clock, aggregations, events.sticky);
  const common = { ...parts, loader, ignoredUsers, writer };
  return {
    relationIndex: index,
    aggregations,
    relationRules: new RelationRules({ database, events, index, loader }),
    relations: new Relations({ ...common, index }),
    threads: new ThreadsList({ ...common, index, database, interner }),
    clientEvents: writer,
  };
}
