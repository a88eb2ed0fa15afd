import type { Eventually } from '#src/kernel/concurrency/steps.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import { joinedToAny } from '#src/storage/room-model/joined-rooms.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { SyncUser } from './sync-user.ts';

export interface SharedRoomCheckOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly rooms: Pick<RoomRegistry, 'glance'>;
}

/** Tells who shares a room with a user: by the rooms that are in memory, and of the others by one statement. */
export class SharedRoomCheck {
  readonly #options: SharedRoomCheckOptions;

  constructor(options: SharedRoomCheckOptions) {
    this.#options = options;
  }

  /** Those of these users who are in a room with a user, or are that user. */
  among(user: SyncUser, userIds: Iterable<string>): Eventually<ReadonlySet<string>> {
    const found = new Set<string>();
    const others = new Set<string>();
    for (const userId of userIds) (userId === user.userId ? found : others).add(userId);
    if (others.size === 0) return found;
    const evicted: number[] = [];
    for (const nid of user.joined.keys()) {
      const room = this.#options.rooms.glance(nid);
      if (room === undefined) {
        evicted.push(nid);
        continue;
      }
      // By the smaller of the two: many users may be asked about, of many small rooms.
      if (room.members.size < others.size) {
        for (const { membership, userId } of room.members.values())
          if (membership === 'join' && others.delete(userId)) found.add(userId);
      } else
        for (const userId of others) {
          if (!room.isJoined(userId)) continue;
          found.add(userId);
          others.delete(userId);
        }
      if (others.size === 0) return found;
    }
    return evicted.length === 0 ? found : this.#read(found, others, evicted);
  }

  async #read(found: Set<string>, others: ReadonlySet<string>, rooms: readonly number[]): Promise<ReadonlySet<string>> {
    const { database, interner } = this.#options;
    const names = await interner.find({ users: [...others] });
    const byNid = new Map<number, string>();
    for (const userId of others) {
      const nid = names.peekUser(userId);
      if (nid !== undefined) byNid.set(nid, userId);
    }
    if (byNid.size === 0) return found;
    for (const nid of await joinedToAny(database, [...byNid.keys()], rooms)) found.add(byNid.get(nid) ?? '');
    return found;
  }
}
