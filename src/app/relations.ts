import { IgnoredUsers } from '#src/services/account-data/ignored-users.ts';
import type { AccountDataService } from '#src/services/account-data/account-data-service.ts';
import type { EventLoader } from '#src/services/events/event-loader.ts';
import type { EventService } from '#src/services/events/event-service.ts';
import { Aggregations } from '#src/services/relations/bundled-aggregations.ts';
import { RelationIndex } from '#src/services/relations/relation-index.ts';
import { RelationRules } from '#src/services/relations/relation-rules.ts';
import { Relations } from '#src/services/relations/relations.ts';
import { ThreadsList } from '#src/services/relations/threads-list.ts';
import { ClientEvents } from '#src/services/rooms/client-events.ts';
import type { EventFinder } from '#src/services/rooms/event-finder.ts';
import type { HistoryTokens } from '#src/services/rooms/history-tokens.ts';
import type { RoomAccess } from '#src/services/rooms/room-access.ts';
import type { EventVisibility } from '#src/services/visibility/event-visibility.ts';
import type { Interner } from '#src/storage/repositories/interner.ts';
import type { Platform } from './platform.ts';

/** What has to do with events that relate to each other. */
export interface RelationParts {
  /** What relates to what. Whoever deletes events has it forget the room. */
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
  { interner, loader }: { readonly interner: Interner; readonly loader: EventLoader },
  events: EventService,
  accountData: Pick<AccountDataService, 'get'>,
  parts: {
    readonly access: RoomAccess;
    readonly visibility: EventVisibility;
    readonly finder: EventFinder;
    readonly tokens: HistoryTokens;
  },
): RelationParts {
  const index = new RelationIndex({ database, interner, events });
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
