import { isUtf8 } from 'node:buffer';
import { parse } from 'node:querystring';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { refuseNul, type Texts } from './validation.ts';

/**
 * The members of an `application/x-www-form-urlencoded` body, whatever its Content-Type says.
 *
 * @throws MatrixError M_NOT_JSON for invalid UTF-8, M_INVALID_PARAM for a NUL
 */
export const parseForm = (bytes: Buffer): Texts => {
  if (!isUtf8(bytes)) throw new MatrixError('M_NOT_JSON', 'The body of the request is not valid UTF-8.');
  const form = parse(bytes.toString('utf8')) as Texts;
  refuseNul(form, 'form');
  return form;
};
