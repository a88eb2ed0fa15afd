import { MatrixError } from '#src/protocol/errors/matrix-error.ts';

/** Answers a request for media that is not there, or that the requester may not have: both look alike. */
export const noSuchMedia = (): MatrixError => new MatrixError('M_NOT_FOUND', 'There is no such media.');
