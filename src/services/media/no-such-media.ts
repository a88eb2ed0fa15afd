import { MatrixError } from '#src/protocol/errors/matrix-error.ts';

export const noSuchMedia = (): MatrixError => new MatrixError('M_NOT_FOUND', 'There is no such media.');
