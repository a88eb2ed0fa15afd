import type { RoomTailRow } from '#src/storage/events/event-rows.ts';
import type { Room } from './room.ts';

/** The row of a room whose head does not change, for a write under a new position. */
export const tailRow = ({ head, headDepth, nid }: Room, position: number): RoomTailRow => ({
  room: nid,
  extremities: head.extremities.map((event) => event.nid),
  state: head.chain.nid,
  depth: headDepth,
  lastPos: position,
});
