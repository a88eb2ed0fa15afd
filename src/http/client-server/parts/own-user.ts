import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';

/**
 * Refuses requests for what belongs to another user.
 *
 * @throws MatrixError M_FORBIDDEN
 */
export const assertOwn = (requester: Requester, userId: string, what: string): void => {
  if (requester.userId !== userId)
    throw new MatrixError('M_FORBIDDEN', `${what} of another user cannot be reached with your access token.`);
};
