import { covers, type PositionVector } from '#src/protocol/wire/position.ts';
import type { DeviceListChanges } from '#src/services/e2ee/device-lists/device-list-changes.ts';
import type { MemberPlace, MembershipPast } from '#src/services/reading/visibility/membership-past.ts';
import type { Member } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { changedSince } from '../engine/changed-rooms.ts';
import type { SharedRoomCheck } from '../engine/shared-room-check.ts';
import { sharedUsers } from '../engine/shared-users.ts';
import type { SyncUser } from '../engine/sync-user.ts';

/** Users whose devices a client has to query again (`changed`), and whose it may forget (`left`). Client-Server API, `DeviceLists`. */
export interface DeviceListDelta {
  readonly changed: readonly string[];
  readonly left: readonly string[];
}

export interface DeviceListDeltasOptions {
  readonly changes: DeviceListChanges;
  readonly rooms: RoomRegistry;
  readonly past: MembershipPast;
  readonly companions: SharedRoomCheck;
}

/**
 * Computes `device_lists` of a span from one row for each change and from when users joined and left rooms: there is no row for each
 * reader. Client-Server API, "Tracking the device list for a user".
 */
export class DeviceListDeltas {
  readonly #options: DeviceListDeltasOptions;

  constructor(options: DeviceListDeltasOptions) {
    this.#options = options;
  }

  /** The device lists that changed or left for a user after `since`, up to `upTo`. */
  async between(user: SyncUser, since: PositionVector, upTo: PositionVector): Promise<DeviceListDelta> {
    const { companions, rooms } = this.#options;
    const changes = await this.#options.changes.fewBetween(since, upTo);
    const { came, left } = await this.#cameAndLeft(user, since);
    if (changes === undefined) {
      // Of so many it is not looked who they are: a client that queries too many devices again misses nothing.
      const all = await sharedUsers(user, rooms, 'all');
      return { changed: [...all].toSorted(), left: withoutThose(left, all, came).toSorted() };
    }
    const names = changes.flatMap(({ userId, seenBy }) => (seenBy === undefined ? userId : []));
    const sharing = await companions.among(user, [...names, ...left]);
    const changed = new Set(came);
    for (const { userId, seenBy } of changes) {
      if (seenBy === undefined ? sharing.has(userId) : seenBy === user.userId) changed.add(userId);
    }
    return { changed: [...changed].toSorted(), left: withoutThose(left, sharing, came).toSorted() };
  }

  /** Users who share a room since `since` (including the user, for rooms that they joined), and users who no longer share one. */
  async companions(user: SyncUser, since: PositionVector): Promise<SharedUserChanges> {
    const { came, left } = await this.#cameAndLeft(user, since);
    const sharing = await this.#options.companions.among(user, left);
    return { came, left: withoutThose(left, sharing, came) };
  }

  /**
   * Users who came to share a room since then, and those with whom a room was shared that they, or the user, left since then, whether they came
   * back or not.
   */
  async #cameAndLeft(
    user: SyncUser,
    since: PositionVector,
  ): Promise<{ readonly came: ReadonlySet<string>; readonly left: ReadonlySet<string> }> {
    const { rooms } = this.#options;
    const came = new Set<string>();
    const found = new Set<string>();
    const gone: MemberPlace[] = [];
    await rooms.visit(changedSince(user, since), (room) => {
      if (isNewIn(room, user, since)) {
        addThoseMet(came, room, user);
        return;
      }
      for (const member of membersChangedSince(room, since)) {
        if (member.userId === user.userId) continue;
        if (member.membership === 'join') came.add(member.userId);
        else gone.push({ room: room.stub, member });
      }
    });
    const left = [...user.memberships].filter(
      ([, member]) => (member.membership === 'leave' || member.membership === 'ban') && !covers(since, member.since),
    );
    if (left.length > 0) {
      const stubs = await rooms.stubs(left.map(([nid]) => nid));
      const ownPlaces: MemberPlace[] = [];
      await rooms.visit(stubs.values(), (room) => {
        const member = room.member(user.userId);
        if (member !== undefined) ownPlaces.push({ room: room.stub, member });
      });
      const were = (await this.#joinedAfter(since, ownPlaces)).flatMap(({ room: { nid } }) => stubs.get(nid) ?? []);
      await rooms.visit(were, (room) => {
        for (const member of room.members.values()) {
          if (member.membership === 'join') found.add(member.userId);
          else if (member.userId !== user.userId && !covers(since, member.since))
            gone.push({ room: room.stub, member });
        }
      });
    }
    // A user who declined an invite shared nothing.
    for (const { member } of await this.#joinedAfter(since, gone)) found.add(member.userId);
    return { came, left: found };
  }

  /** Those of them who were joined at some time after a position. */
  async #joinedAfter(since: PositionVector, places: readonly MemberPlace[]): Promise<MemberPlace[]> {
    const untils = await this.#options.past.joinedUntilOf(places);
    return places.filter((_, index) => !covers(since, untils[index] ?? 0));
  }
}

/** Who came to share a room with a user, and who shares none any more. */
export interface SharedUserChanges {
  readonly came: ReadonlySet<string>;
  readonly left: readonly string[];
}

/** Whether a user came into a room since then. */
const isNewIn = (room: Room, user: SyncUser, since: PositionVector): boolean => {
  const own = room.member(user.userId);
  return own !== undefined && !covers(since, own.since);
};

const withoutThose = (
  all: ReadonlySet<string>,
  some: ReadonlySet<string>,
  others: ReadonlySet<string>,
): readonly string[] => [...all].filter((userId) => !some.has(userId) && !others.has(userId));

/** Members of rooms that a user joined. */
const addThoseMet = (came: Set<string>, room: Room, user: SyncUser): void => {
  let isAlone = true;
  for (const { userId, membership } of room.members.values()) {
    if (userId === user.userId || membership !== 'join') continue;
    came.add(userId);
    isAlone = false;
  }
  // The user's own other devices share a room with others from now on as well: other servers say so, and clients query them again.
  if (!isAlone) came.add(user.userId);
};

/** Members who joined or left after a position. Reads all members only when the ring does not reach back far enough. */
const membersChangedSince = (room: Room, since: PositionVector): Iterable<Member> => {
  const events = room.ring.between(since[room.shard] ?? 0, Infinity);
  const isChanged = (member: Member): boolean => !covers(since, member.since);
  // Members from before this server joined have become known, and their devices were not announced yet.
  if (room.fullSince > (since[room.shard] ?? 0))
    return [...room.members.values()].filter((member) => member.membership === 'join' || isChanged(member));
  // State resolution can change memberships without a new event.
  if (events === undefined || events.some(({ currentState }) => currentState !== undefined))
    return [...room.members.values()].filter(isChanged);
  const userIds = new Set(events.flatMap(({ type, stateKey }) => (type === 'm.room.member' ? (stateKey ?? []) : [])));
  return [...userIds].flatMap((userId) => room.member(userId) ?? []).filter(isChanged);
};
