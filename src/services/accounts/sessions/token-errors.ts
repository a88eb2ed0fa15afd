import { MatrixError } from '#src/protocol/errors/matrix-error.ts';

/** @param softLogout the session has not ended: its device and keys are to be kept */
export const unknownToken = (message: string, softLogout = false): MatrixError =>
  new MatrixError('M_UNKNOWN_TOKEN', message, { soft_logout: softLogout });

export const userLocked = (): MatrixError =>
  new MatrixError('M_USER_LOCKED', 'This account has been locked by an administrator of this server.', {
    soft_logout: true,
  });
