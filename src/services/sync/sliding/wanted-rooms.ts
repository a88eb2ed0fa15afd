import type { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import { combined, type CombinedRoomConfig } from './required-state.ts';
import { type ListContext, type ListedRoom, windowed, WindowNames } from './room-lists.ts';
import type { RoomConfig, SlidingRequest } from './sliding-request.ts';

/** A room that some list or subscription of a request wants, with everything that wants it. */
export interface Wishes {
  readonly listed: ListedRoom;
  readonly wishes: RoomConfig[];
  readonly lists: string[];
  isSubscribed: boolean;
}

/** One list of an answer. */
export interface ListAnswer {
  readonly name: string;
  /** How many rooms it has, within its windows and beyond. */
  readonly count: number;
  /** None where the answer does not name their rooms. */
  readonly windows: readonly { readonly range: readonly [number, number]; readonly roomIds: readonly string[] }[];
}

/** To note that a list wants a room takes as long as writing so many characters. */
const CHARACTERS_OF_WISH = 20;

/** A room that was left is sent once more, up to the leave. */
const LEFT: RoomConfig = {
  timelineLimit: 20,
  requiredState: { include: [['m.room.member', '$ME']], exclude: [], lazyMembers: false },
};

/** The lists of an answer, and every room that any of them or a subscription wants. */
export const wishesOf = async (
  { lists: asked, namesRooms, subscriptions }: SlidingRequest,
  context: ListContext,
  listed: readonly ListedRoom[],
  left: readonly ListedRoom[],
  loopYield: LoopYield,
): Promise<{ readonly lists: readonly ListAnswer[]; readonly wanted: readonly Wishes[] }> => {
  const wanted = new Map<number, Wishes>();
  const want = (one: ListedRoom, wish: RoomConfig): Wishes => {
    const known = wanted.get(one.room.nid) ?? { listed: one, wishes: [], lists: [], isSubscribed: false };
    known.wishes.push(wish);
    wanted.set(one.room.nid, known);
    return known;
  };
  const lists: ListAnswer[] = [];
  const names = new WindowNames(listed.length);
  for (const [name, wish] of asked) {
    const rooms = await context.rooms(wish, loopYield);
    names.add(rooms, wish.ranges, namesRooms);
    const within = windowed(rooms, wish.ranges);
    for (const one of within) want(one, wish).lists.push(name);
    const ranges = namesRooms ? (wish.ranges ?? [[0, Math.max(rooms.length - 1, 0)] as const]) : [];
    const windows = ranges.map(([first, last]) => ({
      range: [first, last] as const,
      roomIds: rooms.slice(first, last + 1).map(({ room }) => room.roomId),
    }));
    lists.push({ name, count: rooms.length, windows });
    await loopYield.after(CHARACTERS_OF_WISH * (1 + within.length));
  }
  if (subscriptions.size > 0) {
    const byId = new Map([...listed, ...left].map((one) => [one.room.roomId, one]));
    for (const [roomId, wish] of subscriptions) {
      const one = byId.get(roomId);
      if (one !== undefined && context.isReadyFor(wish, one)) want(one, wish).isSubscribed = true;
    }
  }
  // Rooms that were left are told of to the client that knows them, whatever it asks for.
  for (const one of left) if (!wanted.has(one.room.nid)) want(one, LEFT);
  return { lists, wanted: [...wanted.values()] };
};

/** What is wanted of each room, all in all. */
export const combineConfigs = async (
  wanted: readonly Wishes[],
  userId: string,
  loopYield: LoopYield,
): Promise<ReadonlyMap<Wishes, CombinedRoomConfig>> => {
  const found = new Map<Wishes, CombinedRoomConfig>();
  // Most rooms are wanted by the same lists.
  const known = new Map<string, CombinedRoomConfig>();
  for (const one of wanted) {
    const { isSubscribed, lists, wishes } = one;
    const key = isSubscribed || lists.length === 0 ? undefined : JSON.stringify(lists);
    let wish = key === undefined ? undefined : known.get(key);
    let characters = key?.length ?? 0;
    if (wish === undefined) {
      wish = combined(wishes, userId);
      if (key !== undefined) known.set(key, wish);
      characters += CHARACTERS_OF_WISH * wishes.length + wish.state.key.length;
    }
    found.set(one, wish);
    const turn = loopYield.after(characters);
    if (turn !== undefined) await turn;
  }
  return found;
};
