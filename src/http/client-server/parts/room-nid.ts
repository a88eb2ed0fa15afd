import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isRoomId } from '#src/protocol/identifiers/identifiers.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';

/** The number under which a room's account data is kept. */
export const roomNidOf = async (rooms: RoomRegistry, roomId: string): Promise<number> => {
  if (!isRoomId(roomId)) throw new MatrixError('M_INVALID_PARAM', `${roomId} is not a valid room ID.`);
  const room = await rooms.byId(roomId);
  if (room === undefined) throw new MatrixError('M_NOT_FOUND', `This server does not know the room ${roomId}.`);
  return room.nid;
};
