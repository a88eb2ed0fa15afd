import { MatrixError } from '../errors/matrix-error.ts';

/** A number written with a fraction or an exponent, or something in a string that looks like one. */
const MAYBE_FLOAT = /[:[,]\s*-?\d+[.eE]/;
const FLOAT = /[.eE]/;

/** The error for a number that canonical JSON cannot hold. Appendices, "Canonical JSON". */
export const notInteger = (number: unknown): MatrixError =>
  new MatrixError(
    'M_BAD_JSON',
    `The number ${String(number)} cannot be part of an event: only integers from -(2^53)+1 to (2^53)-1 can.`,
  );

/**
 * Refuses numbers that are written with a fraction or an exponent: `1.0` and `1e3` are integers once they are parsed, and canonical JSON knows
 * neither form. Appendices, "Canonical JSON".
 *
 * @param text JSON that becomes part of an event
 * @throws MatrixError M_BAD_JSON
 */
export const refuseWrittenFloats = (text: string): void => {
  if (!MAYBE_FLOAT.test(text)) return;
  const reviver = (_key: string, value: unknown, context?: { readonly source?: string }): unknown => {
    if (typeof value === 'number' && context?.source !== undefined && FLOAT.test(context.source))
      throw notInteger(context.source);
    return value;
  };
  JSON.parse(text, reviver as (key: string, value: unknown) => unknown);
};
