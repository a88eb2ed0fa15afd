import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { VisibleEvent } from '#src/services/reading/visibility/visible-event.ts';
import type { RoomAccess, RoomView } from './room-access.ts';

const all = (_room: Room, _userId: string, events: readonly StoredEvent[]): Promise<VisibleEvent[]> =>
  Promise.resolve(events.map((event) => ({ event, membership: undefined })));

/** The visibility for administrators: every event, whatever their membership. */
export const EVERYTHING_VISIBLE: Pick<EventVisibility, 'asState' | 'maySee' | 'seen' | 'seesAll' | 'visibleTo'> = {
  asState: all,
  visibleTo: all,
  maySee: () => Promise.resolve(true),
  seen: (_room, _userId, groups) => Promise.resolve(new Set(groups.flatMap((group) => group.map(({ nid }) => nid)))),
  seesAll: () => true,
};

/** Lets administrators read every room as it is now, also without local members. They do learn whether a room exists. */
export class UnrestrictedAccess implements Pick<RoomAccess, 'joined' | 'known' | 'reading'> {
  readonly #rooms: Pick<RoomRegistry, 'byId'>;

  constructor(rooms: Pick<RoomRegistry, 'byId'>) {
    this.#rooms = rooms;
  }

  /** @throws MatrixError M_NOT_FOUND */
  async known(roomId: string): Promise<Room> {
    const room = await this.#rooms.byId(roomId);
    if (room === undefined) throw new MatrixError('M_NOT_FOUND', 'This server does not have this room.');
    return room;
  }

  joined(roomId: string): Promise<Room> {
    return this.known(roomId);
  }

  async reading(roomId: string): Promise<RoomView> {
    const room = await this.known(roomId);
    return { room, upTo: room.lastPosition, state: room.stateChain, isCurrent: true };
  }
}
