import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** Why a room cannot be used by a remote server: this one is not in it. */
export const NOT_IN_ROOM = 'This server is not in the room.';

/** @throws MatrixError M_NOT_FOUND for a room that this server is not in */
export function assertResident(room: Room | undefined): asserts room is Room {
  if (room?.isResident !== true) throw new MatrixError('M_NOT_FOUND', NOT_IN_ROOM);
}
