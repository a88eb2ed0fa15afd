import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import { atMost } from '#src/kernel/caches/at-most.ts';
import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { membershipOfCode } from '#src/services/room-model/room/membership.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { IgnoredUsers } from '#src/services/user-data/account-data/ignored-users.ts';
import type { InvitePermission, InviteRules } from '#src/services/user-data/account-data/invite-permission.ts';
import type { Database } from '#src/storage/database.ts';
import { roomsOfUser } from '#src/storage/room-model/member-rows.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { UnreadCounts } from './unread-counts.ts';

const MAX_USERS = 20_000;
const ROOMS_AT_ONCE = 100;

interface Badge {
  /** By what it was counted. Both may be large, and are not kept for it: where they are gone, it is counted anew. */
  readonly ignored: WeakRef<ReadonlySet<string>>;
  readonly invites: WeakRef<InviteRules>;
  /** What rooms add, by their numbers; those that add nothing are left out. */
  readonly rooms: Map<number, number>;
  /** Rooms that have to be counted anew. */
  readonly touched: Set<number>;
}

/** A badge while it is counted. */
interface Counting {
  readonly badge: Badge;
  readonly ignored: ReadonlySet<string>;
  readonly invites: InviteRules;
}

export interface BadgeCountsOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly rooms: RoomRegistry;
  readonly loader: EventLoader;
  readonly ignoredUsers: IgnoredUsers;
  readonly invitePermission: InvitePermission;
  readonly unread: UnreadCounts;
  /** Whether a room counts once, however much in it is unread. */
  readonly byRoom: boolean;
}

/**
 * The number on an application's badge: a user's unread counts of all rooms, and pending invites. It is
 * counted once, and then only where something happened.
 */
export class BadgeCounts {
  readonly #options: BadgeCountsOptions;
  readonly #badges = new CountedCache<string, Badge>('badges', atMost(MAX_USERS));
  readonly #turns = new SerialByKey<string>();

  constructor(options: BadgeCountsOptions) {
    this.#options = options;
  }

  /** Says that something happened in a room that may change what is unread for a user there. */
  touch(userId: string, room: number): void {
    this.#badges.peek(userId)?.touched.add(room);
  }

  /** Says that everything has to be counted anew: what notifies the user is something else. */
  forget(userId: string): void {
    this.#badges.delete(userId);
  }

  /** How much is unread for a user by now. */
  of(userId: string): Promise<number> {
    // One after the other: the second one would not wait for what the first one counts.
    return this.#turns.run(userId, () => this.#counted(userId));
  }

  async #counted(userId: string): Promise<number> {
    const ignored = await this.#options.ignoredUsers.of(userId);
    const invites = await this.#options.invitePermission.of(userId);
    let badge = this.#badges.get(userId);
    if (badge === undefined || badge.ignored.deref() !== ignored || badge.invites.deref() !== invites) {
      badge = {
        ignored: new WeakRef(ignored),
        invites: new WeakRef(invites),
        rooms: new Map(),
        touched: new Set(await this.#roomsOf(userId)),
      };
      this.#badges.set(userId, badge);
    }
    const touched = [...badge.touched];
    badge.touched.clear();
    try {
      for (let at = 0; at < touched.length;)
        at += await this.#count(userId, { badge, ignored, invites }, touched.slice(at, at + ROOMS_AT_ONCE));
    } catch (error) {
      // It is unknown what was counted.
      this.#badges.delete(userId);
      throw error;
    }
    let sum = 0;
    for (const count of badge.rooms.values()) sum += count;
    return sum;
  }

  async #roomsOf(userId: string): Promise<number[]> {
    const { database, interner } = this.#options;
    const rows = await roomsOfUser(database, await interner.userNid(userId));
    return rows.flatMap(({ room, membership }) =>
      ['join', 'invite'].includes(membershipOfCode(membership)) ? [room] : [],
    );
  }

  /** Counts the first of these rooms: those that may be in memory together. @returns how many */
  async #count(userId: string, counting: Counting, nids: readonly number[]): Promise<number> {
    const { badge } = counting;
    const { rooms, unread } = this.#options;
    const { looked, rooms: loaded } = await rooms.loadSome(nids);
    const counted = nids.slice(0, looked);
    const joined = counted.flatMap((nid) => loaded.get(nid) ?? []).filter((room) => room.isJoined(userId));
    if (joined.length > 1) await unread.load(userId, joined);
    for (const nid of counted) {
      const room = loaded.get(nid);
      const count = room === undefined ? 0 : await this.#of(userId, counting, room);
      if (count === 0) badge.rooms.delete(nid);
      else badge.rooms.set(nid, count);
    }
    return looked;
  }

  async #of(userId: string, { ignored, invites }: Counting, room: Room): Promise<number> {
    const { byRoom, loader, unread } = this.#options;
    const member = room.member(userId);
    if (member?.membership === 'join') {
      const { notification, threads } = await unread.counts(userId, room, room.lastPosition);
      let count = notification;
      for (const thread of threads.values()) count += thread.notification;
      return byRoom ? Math.min(count, 1) : count;
    }
    if (member?.membership !== 'invite') return 0;
    const invite = await loader.one(room, member.event);
    if (invite === undefined || ignored.has(invite.sender)) return 0;
    return invites.fateOf(invite.sender) === 'shown' ? 1 : 0;
  }
}
