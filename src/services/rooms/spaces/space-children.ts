import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

const CHILD = 'm.space.child';

/** Whether a room is a space. Client-Server API, "Spaces". */
export const isSpace = (room: Room): boolean => room.roomType === 'm.space';

/** The `m.space.child` events of a space that name a child, in the order in which children are shown. */
export const childrenOf = (room: Room): StoredEvent[] => {
  const children: StoredEvent[] = [];
  for (const { event } of room.state.values()) if (event.type === CHILD && isChild(event)) children.push(event);
  return children.sort(byOrder);
};

/** "Child rooms can be removed from a space by omitting the via key of content". */
const isChild = ({ stateKey, content }: StoredEvent): boolean => {
  const { via } = content;
  return stateKey?.startsWith('!') === true && Array.isArray(via) && via.some((server) => typeof server === 'string');
};

/** "`order` values with the wrong type, or otherwise invalid contents, are to be treated as though the `order` key was not provided." */
const orderOf = ({ content: { order } }: StoredEvent): string | undefined =>
  typeof order === 'string' && /^[\x20-\x7e]{1,50}$/.test(order) ? order : undefined;

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/**
 * "First order the children with a valid order key lexicographically [...]. Then, take the remaining children and order them by the
 * origin_server_ts", and by their room ids where that is the same. Client-Server API, "Ordering of children within a space".
 */
const byOrder = (a: StoredEvent, b: StoredEvent): number => {
  const [first, second] = [orderOf(a), orderOf(b)];
  if (first !== undefined && second === undefined) return -1;
  if (first === undefined && second !== undefined) return 1;
  return compare(first ?? '', second ?? '') || a.ts - b.ts || compare(a.stateKey ?? '', b.stateKey ?? '');
};
