import { literalTest } from '#src/protocol/matching/literal.ts';
import type { Member } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { RoomStub } from '#src/services/room-model/room/room-stub.ts';
import type { UserAccountData } from '#src/services/user-data/account-data/user-account-data.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import type { SyncUser } from '../engine/sync-user.ts';
import type { RoomActivity } from './room-activity.ts';
import { StateWanted } from './required-state.ts';
import type { ListFilters, ListConfig, RoomConfig } from './sliding-request.ts';

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
export const CHARACTERS_OF_LOOK = 10;

/** What lists ask of a room beside its stub. */
export interface RoomFacts {
  readonly isEncrypted: boolean;
  readonly roomType: string | undefined;
  /** In lower case, as much of it as may be asked for; the empty text for none. */
  readonly name: string;
}

/** A room that a user is in, was invited to, or knocks at. */
export interface ListedRoom<R extends RoomStub | Room = RoomStub> {
  readonly room: R;
  readonly member: Member;
  readonly facts: RoomFacts;
  /** Time of the last event of a bumping type, in milliseconds since the epoch. */
  readonly bumpStamp: number;
  /** Sort key of lists, descending: time of the last activity. */
  readonly activity: number;
}

interface KnownFacts extends RoomFacts {
  /** Position of the newest event when they were as they are here. */
  readonly at: number;
  readonly bump: number;
  /** `origin_server_ts` of the newest event. */
  readonly newest: number;
}

/** Characters of a name in which is searched. */
const MAX_NAME = 1_024;

/** What lists ask of rooms: kept with their stubs, so that a room that is not in memory is read again only after something happened in it. */
export class RoomListings {
  readonly #rooms: Pick<RoomRegistry, 'glance' | 'visit'>;
  readonly #activity: RoomActivity;
  readonly #clock: Clock;
  readonly #known = new WeakMap<RoomStub, KnownFacts>();

  constructor(rooms: Pick<RoomRegistry, 'glance' | 'visit'>, activity: RoomActivity, clock: Clock) {
    this.#rooms = rooms;
    this.#activity = activity;
    this.#clock = clock;
  }

  /** The rooms that a user is in. */
  async joined({ joined, memberships }: SyncUser): Promise<readonly ListedRoom[]> {
    const now = this.#clock.now();
    const unknown: RoomStub[] = [];
    for (const stub of joined.values()) if (this.#known.get(stub)?.at !== stub.lastPosition) unknown.push(stub);
    const visiting = this.#rooms.visit(unknown, (room) => this.#note(room, now));
    if (visiting !== undefined) await visiting;
    const listed: ListedRoom[] = [];
    for (const [nid, room] of joined) {
      const member = memberships.get(nid);
      const facts = this.#known.get(room);
      if (member?.membership !== 'join' || facts === undefined) continue;
      listed.push({ room, member, facts, bumpStamp: facts.bump, activity: this.#activity.of(room, facts.newest) });
    }
    return listed;
  }

  /** The bump stamp is as far as the newest events tell; older than those, when none of them bumps. Never later than now, whatever another server's clock says. */
  #note(room: Room, now: number): void {
    const { stub } = room;
    const before = this.#known.get(stub);
    const { events } = room.ring;
    const last = events.findLast(({ type }) => BUMPS.has(type));
    const isSame = last !== undefined && before !== undefined && last.nid <= before.at;
    const stamp = isSame ? before.bump : Math.min((last ?? events[0])?.pdu.origin_server_ts ?? 0, now);
    this.#known.set(stub, {
      ...factsOf(room),
      at: stub.lastPosition,
      bump: last === undefined ? Math.max(stamp, before?.bump ?? 0) : stamp,
      newest: room.ring.newest?.pdu.origin_server_ts ?? 0,
    });
  }
}

/** What lists ask of a room. */
export const factsOf = (room: Room): RoomFacts => ({
  isEncrypted: room.isEncrypted,
  roomType: room.roomType,
  name: (room.stateText('m.room.name', 'name') ?? '').slice(0, MAX_NAME).toLowerCase(),
});

/** Direct chats of a user: ids of rooms. Client-Server API, "Direct Messaging". */
const directRooms = (data: UserAccountData): ReadonlySet<string> => {
  const json = data.entry(0, 'm.direct')?.json;
  const direct: unknown = json === undefined ? undefined : JSON.parse(json);
  if (!isJsonObject(direct)) return new Set();
  return new Set(Object.values(direct).flatMap((rooms) => (Array.isArray(rooms) ? rooms.map(String) : [])));
};

const tagsOf = (data: UserAccountData, room: RoomStub): readonly string[] => {
  const json = data.entry(room.nid, 'm.tag')?.json;
  const tags = json === undefined ? undefined : (JSON.parse(json) as JsonObject)['tags'];
  return isJsonObject(tags) ? Object.keys(tags) : [];
};

/** Rooms of spaces that a user is in. Client-Server API, "Spaces": a child without `via` is none. */
const childrenOf = async (
  spaces: readonly string[],
  rooms: readonly ListedRoom[],
  registry: Pick<RoomRegistry, 'visit'>,
  loopYield: LoopYield,
): Promise<ReadonlySet<string>> => {
  const wanted = new Set(spaces);
  const children = new Set<string>();
  let looked = 0;
  const look = ({ state }: Room): void => {
    looked += state.size;
    for (const { event } of state.values())
      if (event.type === 'm.space.child' && Array.isArray(event.content['via'])) children.add(event.stateKey ?? '');
  };
  for (const { room, member } of rooms) {
    if (!wanted.has(room.roomId) || member.membership !== 'join') continue;
    const visiting = registry.visit([room], look);
    if (visiting !== undefined) await visiting;
    await loopYield.after(CHARACTERS_OF_LOOK * looked);
    looked = 0;
  }
  return children;
};

/** What filters ask about, worked out when one does. */
export class ListContext {
  readonly #data: UserAccountData;
  readonly #rooms: readonly ListedRoom[];
  readonly #registry: Pick<RoomRegistry, 'visit'>;
  /** The rooms of which not all members are known. */
  readonly #partial: ReadonlyMap<number, Room>;
  #direct: ReadonlySet<string> | undefined;
  readonly #tags = new Map<RoomStub, readonly string[]>();

  private constructor(
    data: UserAccountData,
    rooms: readonly ListedRoom[],
    registry: Pick<RoomRegistry, 'visit'>,
    partial: ReadonlyMap<number, Room>,
  ) {
    this.#data = data;
    this.#rooms = rooms;
    this.#registry = registry;
    this.#partial = partial;
  }

  /** @param rooms the most recent first */
  static async of(
    data: UserAccountData,
    rooms: readonly ListedRoom[],
    registry: Pick<RoomRegistry, 'visit'>,
  ): Promise<ListContext> {
    const partial = new Map<number, Room>();
    const stubs = rooms.flatMap(({ room }) => (room.partial === undefined ? [] : [room]));
    const visiting = registry.visit(stubs, (room) => partial.set(room.nid, room));
    if (visiting !== undefined) await visiting;
    return new ListContext(data, rooms, registry, partial);
  }

  isDirect(room: Pick<Room, 'roomId'>): boolean {
    this.#direct ??= directRooms(this.#data);
    return this.#direct.has(room.roomId);
  }

  /** The rooms of a list, the most recent first. @param loopYield called with the cost of the work done */
  async rooms(config: ListConfig, loopYield: LoopYield): Promise<readonly ListedRoom[]> {
    const tests = await this.#tests(config.filters, loopYield);
    if (this.#partial.size > 0) tests.push((listed) => this.isReadyFor(config, listed));
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
  isReadyFor({ requiredState }: RoomConfig, listed: ListedRoom): boolean {
    const room = this.#partial.get(listed.room.nid);
    if (room?.partial === undefined) return true;
    const { namedMembers } = StateWanted.of([requiredState], this.#data.userId);
    return namedMembers !== undefined && [...namedMembers].every((userId) => room.knowsMember(userId));
  }

  #tagsOf(room: RoomStub): readonly string[] {
    let tags = this.#tags.get(room);
    if (tags === undefined) this.#tags.set(room, (tags = tagsOf(this.#data, room)));
    return tags;
  }

  async #tests(filters: ListFilters, loopYield: LoopYield): Promise<((listed: ListedRoom) => boolean)[]> {
    const tests: ((listed: ListedRoom) => boolean)[] = [];
    const { isDm, isEncrypted, isInvited, nameLike, notRoomTypes, notTags, roomTypes, spaces, tags } = filters;
    if (isInvited !== undefined) tests.push(({ member }) => (member.membership === 'invite') === isInvited);
    if (isDm !== undefined) tests.push(({ room }) => this.isDirect(room) === isDm);
    if (isEncrypted !== undefined) tests.push(({ facts }) => facts.isEncrypted === isEncrypted);
    if (roomTypes !== undefined) {
      const wanted = new Set(roomTypes);
      tests.push(({ facts }) => wanted.has(facts.roomType ?? null));
    }
    if (notRoomTypes !== undefined) {
      const unwanted = new Set(notRoomTypes);
      tests.push(({ facts }) => !unwanted.has(facts.roomType ?? null));
    }
    if (spaces !== undefined) {
      const children = await childrenOf(spaces, this.#rooms, this.#registry, loopYield);
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
      const isIn = literalTest(nameLike.toLowerCase());
      tests.push(({ facts }) => isIn(facts.name));
    }
    return tests;
  }
}

/** How often the ranges of a list, and all lists together, may name the same rooms, on average; and how many names there may be in any case. */
export const MAX_OVERLAP = 4;
export const MIN_NAMES = 20_000;

/** How many rooms the windows of a list name, those that several of them name as often. */
const namesIn = (rooms: readonly ListedRoom[], ranges: ListConfig['ranges']): number =>
  ranges === undefined
    ? rooms.length
    : ranges.reduce((sum, [first, last]) => sum + Math.max(0, Math.min(last + 1, rooms.length) - first), 0);

/** The rooms within the windows of a list. */
export const windowed = (rooms: readonly ListedRoom[], ranges: ListConfig['ranges']): readonly ListedRoom[] => {
  if (ranges === undefined) return rooms;
  const found = new Set<ListedRoom>();
  for (const [first, last] of ranges) for (const listed of rooms.slice(first, last + 1)) found.add(listed);
  return [...found];
};

/** Counts the names of rooms that windows have: an answer holds them all, however few of the rooms have news. */
export class WindowNames {
  readonly #most: number;
  #named = 0;

  /** @param rooms that the user has */
  constructor(rooms: number) {
    this.#most = Math.max(MIN_NAMES, MAX_OVERLAP * rooms);
  }

  /**
   * @param isWritten the answer holds the names
   * @throws MatrixError M_INVALID_PARAM when the windows name the same rooms over and over
   */
  add(rooms: readonly ListedRoom[], ranges: ListConfig['ranges'], isWritten: boolean): void {
    const names = namesIn(rooms, ranges);
    if (names > MAX_OVERLAP * rooms.length)
      throw new MatrixError('M_INVALID_PARAM', 'The ranges of a list must not overlap: each room is told once.');
    if (isWritten && (this.#named += names) > this.#most)
      throw new MatrixError(
        'M_INVALID_PARAM',
        `The windows of all lists together can name ${this.#most} rooms at most: ask for fewer lists, or shorter ranges.`,
      );
  }
}
