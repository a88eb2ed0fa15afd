import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

export const GUEST_ACCESS = 'm.room.guest_access';

/** Whether guests may be in a room. Client-Server API, `m.room.guest_access`. */
export const letsGuestsIn = (room: Room): boolean => room.stateText(GUEST_ACCESS, 'guest_access') === 'can_join';

/** @throws MatrixError M_GUEST_ACCESS_FORBIDDEN */
export const assertGuestsMayJoin = (room: Room): void => {
  if (letsGuestsIn(room)) return;
  throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'This room does not let guests in: register an account first.');
};
