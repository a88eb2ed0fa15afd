import type { RoomEventFilter } from '#src/protocol/filters/filter.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import { membershipCode } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import { roomsOfUser } from '#src/storage/room-model/event-reads.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';

/** A room in which somebody may search, up to a position. */
export interface SearchableRoom {
  readonly room: number;
  readonly upTo: number;
}

/** Upgrades that are followed back at most. */
const MOST_UPGRADES = 50;
const JOIN = membershipCode('join');

/** In which rooms somebody may search: those in which they are or were. */
export class SearchScopes {
  readonly #database: Database;
  readonly #interner: Interner;
  readonly #rooms: RoomRegistry;

  constructor(options: { readonly database: Database; readonly interner: Interner; readonly rooms: RoomRegistry }) {
    this.#database = options.database;
    this.#interner = options.interner;
    this.#rooms = options.rooms;
  }

  /**
   * The rooms of a user that a filter wants. A room that was upgraded stands for its predecessors, too, as far as the user was in
   * them. Of rooms that they left, only what came before that; forgotten rooms are not searched.
   *
   * @param filter `only`: at most this one of them
   */
  async of(
    userId: string,
    filter: Pick<RoomEventFilter, 'rooms' | 'notRooms'> & { readonly only?: string },
  ): Promise<SearchableRoom[]> {
    const records = await roomsOfUser(this.#database, await this.#interner.userNid(userId));
    const own = new Map<number, SearchableRoom>();
    for (const { room, membership, since, forgotten } of records) {
      if (membership === JOIN) own.set(room, { room, upTo: Number.MAX_SAFE_INTEGER });
      else if (!forgotten) own.set(room, { room, upTo: since });
    }
    let wanted = [...own.values()];
    if (filter.rooms !== undefined) {
      const nids = new Set<number>();
      for (const roomId of filter.rooms) await this.#withPredecessors(roomId, own, nids);
      wanted = wanted.filter(({ room }) => nids.has(room));
    }
    if (filter.only !== undefined) {
      const only = await this.#rooms.byId(filter.only);
      wanted = wanted.filter(({ room }) => room === only?.nid);
    }
    const unwanted = new Set<number>();
    for (const roomId of filter.notRooms ?? []) {
      const room = await this.#rooms.byId(roomId);
      if (room !== undefined) unwanted.add(room.nid);
    }
    return wanted.filter(({ room }) => !unwanted.has(room));
  }

  async #withPredecessors(roomId: string, own: ReadonlyMap<number, SearchableRoom>, found: Set<number>): Promise<void> {
    let next: string | undefined = roomId;
    for (let step = 0; next !== undefined && step < MOST_UPGRADES; step++) {
      const room: Room | undefined = await this.#rooms.byId(next);
      if (room === undefined || !own.has(room.nid) || found.has(room.nid)) return;
      found.add(room.nid);
      next = predecessorOf(room);
    }
  }
}

/** The room that a room replaces. Client-Server API, "Room Upgrades". */
const predecessorOf = (room: Room): string | undefined => {
  const predecessor = room.stateEvent('m.room.create')?.content['predecessor'];
  const roomId = isJsonObject(predecessor) ? predecessor['room_id'] : undefined;
  return typeof roomId === 'string' ? roomId : undefined;
};
