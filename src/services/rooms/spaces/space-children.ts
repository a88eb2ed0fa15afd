import { strippedState, type StrippedStateEvent } from '#src/protocol/events/stripped-state.ts';
import { isRoomId } from '#src/protocol/identifiers/identifiers.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

const CHILD = 'm.space.child';
/** The type of rooms that are spaces. Client-Server API, "Spaces". */
export const SPACE = 'm.space';

/** An `m.space.child` that names a child, as it is told to those who look at the space; members are named as on the wire. */
export interface ChildState extends StrippedStateEvent {
  readonly origin_server_ts: number;
}

/** Whether a room is a space. */
const isSpace = (room: Room): boolean => room.roomType === SPACE;

/** Characters of the events of the children of one space that are told. */
export const MAX_CHARACTERS = 1_048_576;

/** The children of a space in the order in which they are shown, the first of them where that is much; of a room that is no space, none. */
export const childrenOf = (room: Room, suggestedOnly: boolean): ChildState[] => {
  // "If the room is not a space-room, this should be empty."
  if (!isSpace(room)) return [];
  const lengths = new Map<ChildState, number>();
  for (const { event } of room.state.values())
    if (event.type === CHILD)
      lengths.set({ ...strippedState(event.pdu), origin_server_ts: event.ts }, event.json.length);
  const children = shownChildren([...lengths.keys()], suggestedOnly);
  let characters = 0;
  const beyond = children.findIndex((child) => (characters += lengths.get(child) ?? 0) > MAX_CHARACTERS);
  return beyond < 0 ? children : children.slice(0, beyond);
};

/** Those of these events that name a child, in the order in which children are shown. */
export const shownChildren = (states: readonly ChildState[], suggestedOnly: boolean): ChildState[] =>
  states.filter((state) => isChild(state) && (!suggestedOnly || state.content['suggested'] === true)).toSorted(byOrder);

/** "Child rooms can be removed from a space by omitting the via key of content". */
const isChild = ({ state_key: roomId, content: { via } }: ChildState): boolean =>
  isRoomId(roomId) && Array.isArray(via) && via.some((server) => typeof server === 'string');

/** "`order` values with the wrong type, or otherwise invalid contents, are to be treated as though the `order` key was not provided." */
const orderOf = ({ content: { order } }: ChildState): string | undefined =>
  typeof order === 'string' && /^[\x20-\x7e]{1,50}$/.test(order) ? order : undefined;

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/**
 * "First order the children with a valid order key lexicographically [...]. Then, take the remaining children and order them by the
 * origin_server_ts", and by their room ids where that is the same. Client-Server API, "Ordering of children within a space".
 */
const byOrder = (a: ChildState, b: ChildState): number => {
  const [first, second] = [orderOf(a), orderOf(b)];
  if (first !== undefined && second === undefined) return -1;
  if (first === undefined && second !== undefined) return 1;
  return (
    compare(first ?? '', second ?? '') || a.origin_server_ts - b.origin_server_ts || compare(a.state_key, b.state_key)
  );
};
