import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { decoded } from '../../endpoint.ts';

/** The `filter` parameter of `/messages` and `/context`: a RoomEventFilter as JSON text. @throws MatrixError M_NOT_JSON */
export const roomFilter = decoded(Type.String({ description: 'A RoomEventFilter as JSON.' }), (text): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    throw new MatrixError('M_NOT_JSON', 'The parameter filter must be a RoomEventFilter as JSON.');
  }
});
