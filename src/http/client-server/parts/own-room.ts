import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isRoomId } from '#src/protocol/identifiers/identifiers.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';

/**
 * The number under which a user's account data of a room is kept: one that they are in, were in, or are invited to. Of others they are not
 * even told whether they exist.
 *
 * @throws MatrixError M_INVALID_PARAM, M_FORBIDDEN
 */
export const ownRoomNid = async (rooms: RoomRegistry, roomId: string, userId: string): Promise<number> => {
  if (!isRoomId(roomId)) throw new MatrixError('M_INVALID_PARAM', `${roomId} is not a valid room ID.`);
  const room = await rooms.byId(roomId);
  if (room?.member(userId) === undefined)
    throw new MatrixError('M_FORBIDDEN', `You are not in the room ${roomId}, and were never in it.`);
  return room.nid;
};
