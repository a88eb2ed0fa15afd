import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { SessionTexts } from '#src/services/e2ee/key-backup/key-backup-service.ts';

const entriesText = (entries: Iterable<readonly [string, string]>): string =>
  `{${[...entries].map(([name, text]) => `${JSON.stringify(name)}:${text}`).join(',')}}`;

/** The sessions of one room, as `{"sessions": {}}`; none where nothing of the room is in the backup. */
export const roomSessionsText = (rooms: SessionTexts, roomId: string): string =>
  `{"sessions":${entriesText(rooms.get(roomId) ?? [])}}`;

/** The sessions of all rooms, as `{"rooms": {}}`. */
export const roomsText = (rooms: SessionTexts): string =>
  `{"rooms":${entriesText([...rooms.keys()].map((roomId) => [roomId, roomSessionsText(rooms, roomId)] as const))}}`;

/** One session. @throws MatrixError M_NOT_FOUND when it is not in the backup */
export const sessionText = (
  rooms: SessionTexts,
  { roomId, sessionId }: { readonly roomId: string; readonly sessionId: string },
): string => {
  const text = rooms.get(roomId)?.get(sessionId);
  if (text === undefined) throw new MatrixError('M_NOT_FOUND', 'This session is not in the backup.');
  return text;
};
