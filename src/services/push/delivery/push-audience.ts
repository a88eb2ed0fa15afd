import type { PusherRegistry } from '#src/services/push/pushers/pusher-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

interface Known {
  /** The room's `membersVersion` and the version of the registry for which it was computed. */
  members: number;
  pushers: number;
  readonly users: Set<string>;
}

/** Caches which present and former members of a room have pushers. It is looked up for every event, and updated by changes. */
export class PushAudience {
  readonly #registry: PusherRegistry;
  readonly #rooms = new WeakMap<Room, Known>();

  constructor(registry: PusherRegistry) {
    this.#registry = registry;
  }

  of(room: Room): ReadonlySet<string> {
    const { version } = this.#registry;
    const known = this.#rooms.get(room);
    if (known === undefined) return this.#gather(room);
    if (known.members === room.membersVersion && known.pushers === version) return known.users;
    const members = room.membersChangedSince(known.members);
    const users = this.#registry.changedSince(known.pushers);
    if (members === undefined || users === undefined) return this.#gather(room);
    for (const userId of [...members, ...users]) {
      if (this.#isOf(room, userId)) known.users.add(userId);
      else known.users.delete(userId);
    }
    known.members = room.membersVersion;
    known.pushers = version;
    return known.users;
  }

  #isOf(room: Room, userId: string): boolean {
    return this.#registry.has(userId) && room.member(userId) !== undefined;
  }

  #gather(room: Room): ReadonlySet<string> {
    const isFew = this.#registry.userCount < room.members.size;
    const candidates = isFew ? this.#registry.users() : room.members.keys();
    const users = new Set<string>();
    for (const userId of candidates) if (this.#isOf(room, userId)) users.add(userId);
    this.#rooms.set(room, { members: room.membersVersion, pushers: this.#registry.version, users });
    return users;
  }
}
