import type { Member } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { UserAccountData } from '#src/services/user-data/account-data/user-account-data.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { LoopYield } from '#src/kernel/loop-yield.ts';
import type { RoomActivity } from './room-activity.ts';
import { StateWanted } from './required-state.ts';
import type { ListFilters, ListWish, RoomWish } from './sliding-request.ts';

/** "Servers should bump rooms for these event types." MSC4186, `bump_stamp`. */
const BUMPS: ReadonlySet<string> = new Set([
  'm.room.create',
  'm.room.message',
  'm.room.encrypted',
  'm.sticker',
  'm.call.invite',
  'm.poll.start',
  'org.matrix.msc3381.poll.start',
  'm.beacon_info',
  'org.matrix.msc3672.beacon_info',
  'm.call.notify',
]);

/** To look at a room, or at an entry of its state, takes as long as writing so many characters. */
const CHARACTERS_OF_LOOK = 10;

/** A room that a user is in, was invited to, or knocks at. */
export interface ListedRoom {
  readonly room: Room;
  readonly member: Member;
  /** When something was last said in it: milliseconds since the epoch. */
  readonly bumpStamp: number;
  /** By which lists are sorted, the greatest first: when anything last happened. */
  readonly activity: number;
}

interface KnownBump {
  readonly at: number;
  readonly stamp: number;
}

const known = new WeakMap<Room, KnownBump>();

/**
 * The bump stamp of a room, as far as its newest events tell; older than those, when none of them bumps it. Never later than now,
 * whatever another server's clock says.
 */
const bumpOf = (room: Room, now: number): number => {
  const before = known.get(room);
  if (before?.at === room.lastPosition) return before.stamp;
  const { events } = room.ring;
  const newest = events.findLast(({ type }) => BUMPS.has(type));
  const isSame = newest !== undefined && before !== undefined && newest.nid <= before.at;
  const stamp = isSame ? before.stamp : Math.min((newest ?? events[0])?.pdu.origin_server_ts ?? 0, now);
  const kept = newest === undefined ? Math.max(stamp, before?.stamp ?? 0) : stamp;
  known.set(room, { at: room.lastPosition, stamp: kept });
  return kept;
};

/** A room that a user is in. */
export const listedRoom = (room: Room, member: Member, now: number, activity: RoomActivity): ListedRoom => ({
  room,
  member,
  bumpStamp: bumpOf(room, now),
  activity: activity.of(room),
});

/** Direct chats of a user: ids of rooms. Client-Server API, "Direct Messaging". */
const directRooms = (data: UserAccountData): ReadonlySet<string> => {
  const json = data.entry(0, 'm.direct')?.json;
  const direct: unknown = json === undefined ? undefined : JSON.parse(json);
  if (!isJsonObject(direct)) return new Set();
  return new Set(Object.values(direct).flatMap((rooms) => (Array.isArray(rooms) ? rooms.map(String) : [])));
};

const tagsOf = (data: UserAccountData, room: Room): readonly string[] => {
  const json = data.entry(room.nid, 'm.tag')?.json;
  const tags = json === undefined ? undefined : (JSON.parse(json) as JsonObject)['tags'];
  return isJsonObject(tags) ? Object.keys(tags) : [];
};

/** Rooms of spaces that a user is in. Client-Server API, "Spaces": a child without `via` is none. */
const childrenOf = async (
  spaces: readonly string[],
  rooms: readonly ListedRoom[],
  loopYield: LoopYield,
): Promise<ReadonlySet<string>> => {
  const wanted = new Set(spaces);
  const children = new Set<string>();
  for (const { room, member } of rooms) {
    if (!wanted.has(room.roomId) || member.membership !== 'join') continue;
    for (const { event } of room.state.values())
      if (event.type === 'm.space.child' && Array.isArray(event.content['via'])) children.add(event.stateKey ?? '');
    await loopYield.after(CHARACTERS_OF_LOOK * room.state.size);
  }
  return children;
};

/** What filters ask about, worked out when one does. */
export class ListContext {
  readonly #data: UserAccountData;
  readonly #rooms: readonly ListedRoom[];
  readonly #hasPartial: boolean;
  #direct: ReadonlySet<string> | undefined;
  readonly #tags = new Map<Room, readonly string[]>();

  /** @param rooms the most recent first */
  constructor(data: UserAccountData, rooms: readonly ListedRoom[]) {
    this.#data = data;
    this.#rooms = rooms;
    this.#hasPartial = rooms.some(({ room }) => room.partial !== undefined);
  }

  isDirect(room: Room): boolean {
    this.#direct ??= directRooms(this.#data);
    return this.#direct.has(room.roomId);
  }

  /** The rooms of a list, the most recent first. @param loopYield is told how much was looked at */
  async rooms(wish: ListWish, loopYield: LoopYield): Promise<readonly ListedRoom[]> {
    const tests = await this.#tests(wish.filters, loopYield);
    if (this.#hasPartial) tests.push((listed) => this.isReadyFor(wish, listed));
    if (tests.length === 0) return this.#rooms;
    const found: ListedRoom[] = [];
    for (const listed of this.#rooms) {
      if (tests.every((test) => test(listed))) found.push(listed);
      const turn = loopYield.after(CHARACTERS_OF_LOOK * tests.length);
      if (turn !== undefined) await turn;
    }
    return found;
  }

  /**
   * Whether it is known of a room what a list or subscription wants of it: a connection that wants members, and does not load them lazily, has a room
   * when it is known who is in it, as with `GET /sync`.
   */
  isReadyFor({ requiredState }: RoomWish, { room }: ListedRoom): boolean {
    if (room.partial === undefined) return true;
    const { namedMembers } = StateWanted.of([requiredState], this.#data.userId);
    return namedMembers !== undefined && [...namedMembers].every((userId) => room.knowsMember(userId));
  }

  #tagsOf(room: Room): readonly string[] {
    let tags = this.#tags.get(room);
    if (tags === undefined) this.#tags.set(room, (tags = tagsOf(this.#data, room)));
    return tags;
  }

  async #tests(filters: ListFilters, loopYield: LoopYield): Promise<((listed: ListedRoom) => boolean)[]> {
    const tests: ((listed: ListedRoom) => boolean)[] = [];
    const { isDm, isEncrypted, isInvited, nameLike, notRoomTypes, notTags, roomTypes, spaces, tags } = filters;
    if (isInvited !== undefined) tests.push(({ member }) => (member.membership === 'invite') === isInvited);
    if (isDm !== undefined) tests.push(({ room }) => this.isDirect(room) === isDm);
    if (isEncrypted !== undefined) tests.push(({ room }) => room.isEncrypted === isEncrypted);
    if (roomTypes !== undefined) {
      const wanted = new Set(roomTypes);
      tests.push(({ room }) => wanted.has(room.roomType ?? null));
    }
    if (notRoomTypes !== undefined) {
      const unwanted = new Set(notRoomTypes);
      tests.push(({ room }) => !unwanted.has(room.roomType ?? null));
    }
    if (spaces !== undefined) {
      const children = await childrenOf(spaces, this.#rooms, loopYield);
      tests.push(({ room }) => children.has(room.roomId));
    }
    if (tags !== undefined) {
      const wanted = new Set(tags);
      tests.push(({ room }) => this.#tagsOf(room).some((tag) => wanted.has(tag)));
    }
    if (notTags !== undefined) {
      const unwanted = new Set(notTags);
      tests.push(({ room }) => !this.#tagsOf(room).some((tag) => unwanted.has(tag)));
    }
    if (nameLike !== undefined) {
      const wanted = nameLike.toLowerCase();
      tests.push(({ room }) => (room.stateText('m.room.name', 'name') ?? '').toLowerCase().includes(wanted));
    }
    return tests;
  }
}

/** How often the ranges of a list may name the same rooms, on average. */
const MAX_OVERLAP = 4;

/**
 * The rooms within the windows of a list.
 *
 * @throws MatrixError M_INVALID_PARAM when they name the same rooms over and over
 */
export const windowed = (rooms: readonly ListedRoom[], ranges: ListWish['ranges']): readonly ListedRoom[] => {
  if (ranges === undefined) return rooms;
  const found = new Set<ListedRoom>();
  let named = 0;
  for (const [first, last] of ranges) {
    const within = rooms.slice(first, last + 1);
    named += within.length;
    if (named > MAX_OVERLAP * rooms.length)
      throw new MatrixError('M_INVALID_PARAM', 'The ranges of a list must not overlap: each room is told once.');
    for (const listed of within) found.add(listed);
  }
  return [...found];
};
