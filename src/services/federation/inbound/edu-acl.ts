import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';

/**
 * The content of an EDU without rooms whose server ACL denies the origin. "ACLs MUST be applied ... typing, receipts". Server-Server API,
 * "Server Access Control Lists".
 *
 * @param most rooms that are checked; content about further rooms is dropped
 * @returns undefined where nothing is left
 */
export const allowedContent = async (
  rooms: Pick<RoomRegistry, 'byId'>,
  origin: string,
  type: string,
  content: JsonObject,
  most: number,
): Promise<JsonObject | undefined> => {
  const allows = async (roomId: string): Promise<boolean> => (await rooms.byId(roomId))?.allowsServer(origin) === true;
  if (type === 'm.typing') {
    const { room_id: roomId } = content;
    return typeof roomId === 'string' && (await allows(roomId)) ? content : undefined;
  }
  if (type !== 'm.receipt') return content;
  const allowed: [string, JsonObject[string]][] = [];
  for (const [roomId, receipts] of Object.entries(content).slice(0, most))
    if (await allows(roomId)) allowed.push([roomId, receipts]);
  return allowed.length === 0 ? undefined : Object.fromEntries(allowed);
};

/** The number of rooms in an EDU whose ACLs have to be checked. */
export const roomsOf = (type: string, content: JsonObject): number =>
  type === 'm.receipt' ? Object.keys(content).length : 0;
