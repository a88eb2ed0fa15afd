import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

export type VisibilitySource = Pick<EventVisibility, 'visibleTo' | 'asMember' | 'asState' | 'asStateOfMember'>;

/** What relates to events of timelines. Client-Server API, "Aggregations of child events". */
export interface RelationsSource {
  /** The relations to events, by their positions. */
  relationsOf(
    targets: readonly { readonly room: Room; readonly event: StoredEvent }[],
  ): Promise<ReadonlyMap<number, readonly { readonly sender: string; readonly relType: string }[]>>;
  /** Makes known what relates to events of several rooms, in one statement at most. */
  prepare(targets: readonly { readonly room: Room; readonly event: StoredEvent }[]): Promise<void>;
  /** JSON text of `m.relations` by position; the same map for all readers with the same content. */
  bundle(
    room: Room,
    reader: { readonly userId: string; readonly deviceId: string | undefined },
    events: readonly StoredEvent[],
    form: { readonly withRoomId: boolean; readonly ignored: ReadonlySet<string> },
  ): Promise<ReadonlyMap<number, string>>;
}
