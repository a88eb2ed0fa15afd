import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { RoomEventFilter } from '#src/protocol/filters/filter.ts';
import { NO_ROOM_EVENT_FILTER, parseRoomEventFilter } from '#src/protocol/filters/parse-filter.ts';

/** The `filter` parameter of `/messages` and `/context`: JSON text. @throws MatrixError M_NOT_JSON, M_BAD_JSON, M_INVALID_PARAM */
export const roomFilterOf = (text: string | undefined): RoomEventFilter => {
  if (text === undefined || text === '') return NO_ROOM_EVENT_FILTER;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new MatrixError('M_NOT_JSON', 'The parameter filter must be a RoomEventFilter as JSON.');
  }
  return parseRoomEventFilter(json);
};
