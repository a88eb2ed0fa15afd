import { MatrixError } from '#src/protocol/errors/matrix-error.ts';

/** The answer to users who call what only application services may: the token is good, and a user's. @throws MatrixError M_FORBIDDEN */
export const noAppservice = (): Promise<never> =>
  Promise.reject(new MatrixError('M_FORBIDDEN', 'This access token is not that of an application service.'));
