import type { Member } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { UserAccountData } from '#src/services/user-data/account-data/user-account-data.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomActivity } from './room-activity.ts';
import type { ListFilters, ListWish } from './sliding-request.ts';

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
 * When a room became recent for the last time, as far as its newest events tell; older than those, when none of them makes it so. Nothing
 * is more recent than now, whatever another server's clock says.
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
export const directRooms = (data: UserAccountData): ReadonlySet<string> => {
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
const childrenOf = (spaces: readonly string[], rooms: readonly ListedRoom[]): ReadonlySet<string> => {
  const wanted = new Set(spaces);
  const children = new Set<string>();
  for (const { room, member } of rooms) {
    if (!wanted.has(room.roomId) || member.membership !== 'join') continue;
    for (const { event } of room.state.values())
      if (event.type === 'm.space.child' && Array.isArray(event.content['via'])) children.add(event.stateKey ?? '');
  }
  return children;
};

/** What filters ask about, worked out when one does. */
export class ListContext {
  readonly #data: UserAccountData;
  readonly #rooms: readonly ListedRoom[];
  #direct: ReadonlySet<string> | undefined;

  /** @param rooms the most recent first */
  constructor(data: UserAccountData, rooms: readonly ListedRoom[]) {
    this.#data = data;
    this.#rooms = rooms;
  }

  isDirect(room: Room): boolean {
    this.#direct ??= directRooms(this.#data);
    return this.#direct.has(room.roomId);
  }

  /** The rooms of a list, the most recent first. */
  rooms({ filters }: ListWish): readonly ListedRoom[] {
    const tests = this.#tests(filters);
    return tests.length === 0 ? this.#rooms : this.#rooms.filter((listed) => tests.every((test) => test(listed)));
  }

  #tests(filters: ListFilters): ((listed: ListedRoom) => boolean)[] {
    const tests: ((listed: ListedRoom) => boolean)[] = [];
    const { isDm, isEncrypted, isInvited, nameLike, notRoomTypes, notTags, roomTypes, spaces, tags } = filters;
    if (isInvited !== undefined) tests.push(({ member }) => (member.membership === 'invite') === isInvited);
    if (isDm !== undefined) tests.push(({ room }) => this.isDirect(room) === isDm);
    if (isEncrypted !== undefined) tests.push(({ room }) => room.isEncrypted === isEncrypted);
    if (roomTypes !== undefined) tests.push(({ room }) => roomTypes.includes(room.roomType ?? null));
    if (notRoomTypes !== undefined) tests.push(({ room }) => !notRoomTypes.includes(room.roomType ?? null));
    if (spaces !== undefined) {
      const children = childrenOf(spaces, this.#rooms);
      tests.push(({ room }) => children.has(room.roomId));
    }
    if (tags !== undefined) tests.push(({ room }) => tagsOf(this.#data, room).some((tag) => tags.includes(tag)));
    if (notTags !== undefined) tests.push(({ room }) => !tagsOf(this.#data, room).some((tag) => notTags.includes(tag)));
    if (nameLike !== undefined) {
      const wanted = nameLike.toLowerCase();
      tests.push(({ room }) => (room.stateText('m.room.name', 'name') ?? '').toLowerCase().includes(wanted));
    }
    return tests;
  }
}

/** The rooms within the windows of a list. */
export const windowed = (rooms: readonly ListedRoom[], ranges: ListWish['ranges']): readonly ListedRoom[] => {
  if (ranges === undefined) return rooms;
  const found = new Set<ListedRoom>();
  for (const [first, last] of ranges) for (const listed of rooms.slice(first, last + 1)) found.add(listed);
  return [...found];
};
