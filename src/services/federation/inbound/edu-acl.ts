import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** Rooms that are loaded together. */
const ROOMS_AT_ONCE = 500;

/**
 * Visits the rooms of these ids in which EDUs of a server count: those that are here and whose server ACL does not deny it. "ACLs MUST be
 * applied ... typing, receipts". Server-Server API, "Server Access Control Lists".
 *
 * The ids are looked up in one statement, and rooms are loaded some at a time: so many as take a part of what rooms may take in memory.
 */
export const visitAllowedRooms = async (
  rooms: Pick<RoomRegistry, 'numbersOf' | 'loadSome'>,
  origin: string,
  roomIds: Iterable<string>,
  visit: (rooms: readonly Room[]) => Promise<void> | void,
): Promise<void> => {
  const nids = [...(await rooms.numbersOf(roomIds)).values()];
  for (let at = 0; at < nids.length;) {
    const { looked, rooms: loaded } = await rooms.loadSome(nids.slice(at, at + ROOMS_AT_ONCE));
    await visit([...loaded.values()].filter((room) => room.isHere && room.allowsServer(origin)));
    at += looked;
  }
};
