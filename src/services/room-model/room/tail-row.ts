import type { RoomTailRow } from '#src/storage/events/event-rows.ts';
import type { Room } from './room.ts';

/** The row of a room whose head does not change, for a write under a new position. */
export const tailRow = (room: Room, position: number): RoomTailRow =>
  tailRowOf(room, room.head, room.headDepth, position);

/** The row of a room whose head is another one from now on. @param depth that of the deepest event that the room has then */
export const tailRowOf = ({ nid }: Room, head: Room['head'], depth: number, position: number): RoomTailRow => ({
  room: nid,
  extremities: head.extremities.map((event) => event.nid),
  state: head.chain.nid,
  depth,
  lastPos: position,
});
