import type { LogFields } from '#src/kernel/logger.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { internalError } from '#src/protocol/errors/internal-error.ts';
import type { CloseName } from './close-codes.ts';
import type { WebSocketDependencies } from './dependencies.ts';

/** How a socket with an invalid token is closed. */
export const closeNameOf = (error: MatrixError): CloseName => {
  switch (error.errcode) {
    case 'M_USER_LOCKED':
      return 'accountLocked';
    case 'ORG_MATRIX_EXPIRED_ACCOUNT':
      return 'accountExpired';
    case 'M_LIMIT_EXCEEDED':
      return 'rateLimited';
    case 'M_UNKNOWN_TOKEN':
      return error.fields['soft_logout'] === true ? 'tokenExpired' : 'badAuth';
    default:
      return error.status >= 500 ? 'internal' : 'badAuth';
  }
};

/** What a client is told of an error. What is not a MatrixError is ours to mend: it is logged, and the client learns nothing of it. */
export const matrixErrorOf = (
  error: unknown,
  { explain, logger }: Pick<WebSocketDependencies, 'explain' | 'logger'>,
  fields: LogFields,
): MatrixError => {
  if (error instanceof MatrixError) return error;
  const explained = explain?.(error);
  if (explained !== undefined) return explained;
  const err = error instanceof Error ? error : new Error(String(error));
  logger.error('a WebSocket request failed unexpectedly', { ...fields, err });
  return internalError();
};
