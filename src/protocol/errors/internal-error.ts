import { MatrixError } from './matrix-error.ts';

/** The answer where something failed that is no MatrixError: the client learns nothing about it. */
export const internalError = (fields: Readonly<Record<string, string>> = {}): MatrixError =>
  new MatrixError('M_UNKNOWN', 'Something went wrong on this server. Its log has the details.', fields, 500);
