import type { AliasService } from '#src/services/rooms/aliases/alias-service.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { MutualRooms } from '#src/services/rooms/membership/mutual-rooms.ts';
import { EventByTime } from '#src/services/reading/history/event-by-time.ts';
import type { RoomAccess } from '#src/services/reading/access/room-access.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { RoomSummaries } from '#src/services/rooms/directory/room-summaries.ts';
import { SpaceHierarchy } from '#src/services/rooms/spaces/space-hierarchy.ts';
import type { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { Platform } from './platform.ts';

/** How users find rooms, and their way within them. */
export interface Discovery {
  readonly eventByTime: EventByTime;
  readonly roomSummaries: RoomSummaries;
  readonly hierarchy: SpaceHierarchy;
  readonly mutualRooms: MutualRooms;
}

export function composeDiscovery(
  { database }: Pick<Platform, 'database'>,
  { rooms, loader }: { readonly rooms: RoomRegistry; readonly loader: EventLoader },
  {
    access,
    aliases,
    visibility,
  }: { readonly access: RoomAccess; readonly aliases: AliasService; readonly visibility: EventVisibility },
): Discovery {
  const summaries = new RoomSummaries({ rooms, aliases });
  return {
    eventByTime: new EventByTime({ access, database, loader, visibility }),
    roomSummaries: summaries,
    hierarchy: new SpaceHierarchy({ database, rooms, summaries }),
    mutualRooms: new MutualRooms(database),
  };
}
