import { isPromise, type Steps } from '#src/kernel/concurrency/steps.ts';
import type { SyncPosition } from '#src/protocol/wire/position.ts';
import type { UserAccountData } from '#src/services/user-data/account-data/user-account-data.ts';
import type { SyncPlanner } from './plan.ts';
import { isInMemory, type PlannedRoom, type RoomPlan } from './room-plan.ts';
import type { Part, Section, SectionRequest } from './section.ts';
import type { Stretch } from './stretches.ts';
import type { SectionPart, SyncEncoder } from './sync-encoder.ts';

/** Rooms that are read together: as many statements for all of them as for one. */
const ROOMS_AT_ONCE = 100;
/** Rooms that are not in memory are read so many at a time at most. */
const ROOMS_READ_AT_ONCE = 2_000;
/** About how many bytes a member event takes, and how many of a room are told that the client knows. */
const BYTES_OF_MEMBER = 500;
const BYTES_OF_KNOWN_ROOM = 16_384;

/** Where the rooms of a stretch go, and how many bytes of them. */
interface Target<Body> {
  readonly encoder: SyncEncoder<Body>;
  /** Lets others have their turn. */
  readonly pause: () => Promise<void>;
  /** Bytes after which it ends, where it may. */
  readonly most: number;
  readonly mayCut: boolean;
}

/** What was told of the rooms of a stretch. */
interface Told {
  readonly hasNews: boolean;
  readonly bytes: number;
  /** The room after which it ended, where there are more. */
  readonly cutAfter: number | undefined;
}

/**
 * Has the sections tell the rooms of a stretch, in the order of their numbers where they might be too many: a few rooms at a time, which are
 * read together, with other requests in between.
 */
export const tellRooms = function* <Body>(
  planner: Pick<SyncPlanner, 'read' | 'rooms'>,
  sections: readonly Section[],
  { common, plan, views }: Stretch,
  data: UserAccountData,
  end: SyncPosition,
  { encoder, mayCut, most, pause }: Target<Body>,
): Steps<Told> {
  const planned = planner.rooms(plan, common, data);
  const unordered = isPromise(planned) ? ((yield planned) as readonly PlannedRoom[]) : planned;
  const rooms = unordered.length > 1 ? unordered.toSorted((a, b) => a.room.nid - b.room.nid) : unordered;
  let hasNews = false;
  let bytes = 0;
  let ready: readonly RoomPlan[] = [];
  for (let at = 0, next = 0; at < rooms.length || next < ready.length;) {
    if (next === ready.length) {
      next = 0;
      if (areInMemory(rooms)) {
        ready = rooms;
        at = rooms.length;
      } else {
        const reading = planner.read(rooms.slice(at, at + ROOMS_READ_AT_ONCE));
        const read = (yield reading) as Awaited<typeof reading>;
        ready = read.rooms;
        at += read.looked;
        if (ready.length === 0) continue;
      }
    }
    const some = ready.length === 1 ? ready : takeTogether(ready, next, common, most - bytes);
    next += some.length;
    for (const view of views) {
      const preparing = view?.prepare?.(some, end);
      if (preparing !== undefined) yield preparing;
    }
    for (const room of some) {
      const parts: SectionPart[] = [];
      let isNews = false;
      for (let index = 0; index < views.length; index++) {
        const answer = views[index]?.room?.(room, end);
        const part = isPromise(answer) ? ((yield answer) as Part | undefined) : answer;
        if (part === undefined) continue;
        parts.push({ section: (sections[index] as Section).name, part });
        if (part.isNews) isNews = true;
      }
      if (!isNews) continue;
      encoder.room(room, parts);
      hasNews = true;
      for (const { part } of parts) bytes += lengthOf(part);
    }
    if (at === rooms.length && next === ready.length) break;
    if (mayCut && bytes >= most) return { hasNews, bytes, cutAfter: some.at(-1)?.room.nid };
    // Where everything is in memory, no other request would run before the last room.
    yield pause();
  }
  return { hasNews, bytes, cutAfter: undefined };
};

/** The rooms that are read together from a place on: those of which no more is told than about as much as may be, and one in any case. */
const takeTogether = (
  rooms: readonly RoomPlan[],
  at: number,
  { filter, fullState }: SectionRequest,
  most: number,
): readonly RoomPlan[] => {
  let weight = 0;
  let to = at;
  while (to < rooms.length && to < at + ROOMS_AT_ONCE) {
    const { isFull, room } = rooms[to] as RoomPlan;
    const members = filter.lazyLoadMembers ? 0 : BYTES_OF_MEMBER * room.members.size;
    weight += isFull || fullState ? room.stateBytes() + members : BYTES_OF_KNOWN_ROOM;
    if (weight > most && to > at) break;
    to += 1;
  }
  return rooms.slice(at, to);
};

const areInMemory = (rooms: readonly PlannedRoom[]): rooms is readonly RoomPlan[] => rooms.every(isInMemory);

const lengthOf = ({ events = [], members = {} }: Part): number => {
  let length = 0;
  for (const name in members) length += members[name]?.length ?? 0;
  for (const event of events) length += event.length;
  return length;
};
