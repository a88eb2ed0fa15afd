import type { RoomEventFilter } from '#src/protocol/filters/filter.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import { membershipCode } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import { roomsOfUser } from '#src/storage/room-model/member-rows.ts';
import { roomNidsOf } from '#src/storage/room-model/room-ids.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';

/** A room in which the requester may search, up to a position. */
export interface SearchableRoom {
  readonly room: number;
  readonly upTo: number;
}

/** Upgrades that are followed back at most. */
export const MAX_UPGRADES = 50;
const JOIN = membershipCode('join');

/** Finds the rooms that the requester may search: those of which they are or were a member. */
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
      const nids = await this.#withPredecessors(filter.rooms, own);
      wanted = wanted.filter(({ room }) => nids.has(room));
    }
    if (filter.only !== undefined) {
      const only = new Set(await this.#nidsOf([filter.only]));
      wanted = wanted.filter(({ room }) => only.has(room));
    }
    if (filter.notRooms === undefined) return wanted;
    const unwanted = new Set(await this.#nidsOf(filter.notRooms));
    return wanted.filter(({ room }) => !unwanted.has(room));
  }

  /** Those of these rooms in which the user is or was, and the rooms that they replace: a statement for each step back, however many they are. */
  async #withPredecessors(roomIds: readonly string[], own: ReadonlyMap<number, SearchableRoom>): Promise<Set<number>> {
    const found = new Set<number>();
    let next = roomIds;
    for (let step = 0; next.length > 0 && step < MAX_UPGRADES; step++) {
      const nids = (await this.#nidsOf(next)).filter((nid) => own.has(nid) && !found.has(nid));
      for (const nid of nids) found.add(nid);
      const before = new Set<string>();
      const stubs = await this.#rooms.stubs(nids);
      await this.#rooms.visit(stubs.values(), (room) => {
        const predecessor = predecessorOf(room);
        if (predecessor !== undefined) before.add(predecessor);
      });
      next = [...before];
    }
    return found;
  }

  /** Any string of a request may come here; PostgreSQL's text holds no NUL. */
  async #nidsOf(roomIds: readonly string[]): Promise<readonly number[]> {
    const possible = roomIds.filter((roomId) => !roomId.includes('\0'));
    return possible.length === 0 ? [] : roomNidsOf(this.#database, possible);
  }
}

/** The room that a room replaces. Client-Server API, "Room Upgrades". */
const predecessorOf = (room: Room): string | undefined => {
  const predecessor = room.stateEvent('m.room.create')?.content['predecessor'];
  const roomId = isJsonObject(predecessor) ? predecessor['room_id'] : undefined;
  return typeof roomId === 'string' ? roomId : undefined;
};
