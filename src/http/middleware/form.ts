import { isUtf8 } from 'node:buffer';
import { parse } from 'node:querystring';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Texts } from './validation.ts';

/**
 * The members of an `application/x-www-form-urlencoded` body, whatever its Content-Type says.
 *
 * @throws MatrixError M_NOT_JSON for invalid UTF-8
 */
export const parseForm = (bytes: Buffer): Texts => {
  if (!isUtf8(bytes)) throw new MatrixError('M_NOT_JSON', 'The body of the request is not valid UTF-8.');
  return parse(bytes.toString('utf8')) as Texts;
};
