import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { type RoomSummary, roomSummaryOf } from '#src/services/rooms/directory/room-summaries.ts';
import type { RoomOpenness } from '#src/services/rooms/membership/room-openness.ts';
import { childrenOf, type ChildState } from '#src/services/rooms/spaces/space-children.ts';
import type { Database } from '#src/storage/database.ts';
import { roomNidsOf } from '#src/storage/room-model/room-ids.ts';

/** Children of one space in an answer. */
export const MAX_CHILDREN = 500;

export interface SpaceAnswersOptions {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly openness: RoomOpenness;
  readonly serverName: string;
}

/** The answer for a space; members are named as on the wire. */
export interface SpaceAnswer {
  readonly room: RoomSummary & { readonly children_state: readonly ChildState[] };
  readonly children: readonly RoomSummary[];
  readonly inaccessible_children: readonly string[];
}

/** Describes spaces and rooms that some user of the asking server may join or read. Server-Server API, `GET /hierarchy/{roomId}`. */
export class SpaceAnswers {
  readonly #options: SpaceAnswersOptions;

  constructor(options: SpaceAnswersOptions) {
    this.#options = options;
  }

  /** @throws MatrixError M_NOT_FOUND for a room that this server is not in, or that is not open to the asking one */
  async answer(origin: string, roomId: string, suggestedOnly: boolean): Promise<SpaceAnswer> {
    const { database, openness, rooms } = this.#options;
    const room = await rooms.byId(roomId);
    if (room === undefined || !this.#isIn(room) || !(await openness.isOpenToServer(room, origin)))
      throw new MatrixError('M_NOT_FOUND', 'There is no such room here, or it is not open to your server.');
    const states = childrenOf(room, suggestedOnly);
    const ids = [...new Set(states.map(({ state_key: childId }) => childId))].slice(0, MAX_CHILDREN);
    const open = new Map<string, RoomSummary | undefined>();
    for await (const some of rooms.parts(await roomNidsOf(database, ids))) {
      for (const child of some) {
        // "Rooms which the responding server cannot provide details on will be outright excluded from the response instead."
        if (!this.#isIn(child)) continue;
        open.set(child.roomId, (await openness.isOpenToServer(child, origin)) ? roomSummaryOf(child) : undefined);
      }
    }
    const children = ids.flatMap((id) => open.get(id) ?? []);
    const inaccessible = ids.filter((id) => open.has(id) && open.get(id) === undefined);
    return { room: { ...roomSummaryOf(room), children_state: states }, children, inaccessible_children: inaccessible };
  }

  #isIn(room: Room): boolean {
    return room.joinedServers().has(this.#options.serverName);
  }
}
