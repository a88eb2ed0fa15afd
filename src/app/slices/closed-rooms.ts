import { ClosedRooms } from '#src/services/rooms/membership/closed-rooms.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';

/** Rooms that cannot be joined because they are blocked or being deleted. */
export interface RoomClosing {
  readonly closedRooms: ClosedRooms;
}

export const composeClosedRooms = ({ database }: Platform): Slice<RoomClosing> => {
  const closedRooms = new ClosedRooms(database);
  return { name: 'closed rooms', services: { closedRooms }, start: () => closedRooms.start() };
};
