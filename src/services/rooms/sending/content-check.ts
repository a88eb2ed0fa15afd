import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { type ClientEvent, contentFault, type ContentPlace } from '#src/protocol/content/content-rules.ts';

/** @throws MatrixError M_BAD_JSON for content that would harm clients, or the room */
export const assertContent = (event: ClientEvent, place: ContentPlace): void => {
  const fault = contentFault(event, place);
  if (fault !== undefined) throw new MatrixError('M_BAD_JSON', fault);
};
