import { MatrixError } from '#src/protocol/errors/matrix-error.ts';

/** @param softLogout the session has not ended: its device and keys are to be kept */
export const unknownToken = (message: string, softLogout = false): MatrixError =>
  new MatrixError('M_UNKNOWN_TOKEN', message, { soft_logout: softLogout });

/** Clients of servers whose accounts have to be renewed know this errcode. The session continues once that is done. */
export const accountExpired = (): MatrixError =>
  new MatrixError(
    'ORG_MATRIX_EXPIRED_ACCOUNT',
    'This account has expired: it has to be renewed before it can be used again.',
  );

export const userLocked = (): MatrixError =>
  new MatrixError('M_USER_LOCKED', 'This account has been locked by an administrator of this server.', {
    soft_logout: true,
  });

/** The answer to a password that is none of the user's, whether there is such a user or not. */
export const wrongPassword = (): MatrixError => new MatrixError('M_FORBIDDEN', 'User name or password is wrong.');

export const userDeactivated = (): MatrixError =>
  new MatrixError('M_USER_DEACTIVATED', 'This account has been deactivated.');

/** The answer to an application service that names a user of its namespaces who has no account. */
export const notRegistered = (): MatrixError =>
  new MatrixError('M_FORBIDDEN', 'Application service has not registered this user: register it first.');

export const accountNotFound = (): MatrixError =>
  new MatrixError('M_NOT_FOUND', 'There is no such account on this server.');
