import type { TSchema } from 'typebox';
import { schemaCheck } from '#src/kernel/schemas/schema-check.ts';
import { isOfNul } from '#src/kernel/schemas/storable-schema.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';

const EXPECTED: Readonly<Record<string, (params: Record<string, unknown>) => string>> = {
  const: (params) => `must be ${JSON.stringify(params['allowedValue'])}`,
  enum: (params) => `must be one of ${JSON.stringify(params['allowedValues'])}`,
  anyOf: () => 'has none of the forms that are allowed here',
};

/**
 * Checks the params of a request, with the errors that the same mistake gets over HTTP.
 *
 * @returns a function that throws M_MISSING_PARAM when a member is missing, M_INVALID_PARAM for a NUL in a text and M_BAD_JSON for everything else
 */
export const paramsValidator = (schema: TSchema): ((params: unknown) => void) => {
  const check = schemaCheck(schema);
  return (params) => {
    const error = check(params);
    if (error === undefined) return;
    const path = error.instancePath.slice(1).replaceAll('/', '.').replaceAll('~1', '/').replaceAll('~0', '~');
    const details = error.params as Record<string, unknown>;
    if (error.keyword === 'required') {
      const name = [path, String(details['missingProperty'])].filter((part) => part !== '').join('.');
      const errcode = path === '' ? 'M_MISSING_PARAM' : 'M_BAD_JSON';
      throw new MatrixError(errcode, `The member ${name} is missing from params.`);
    }
    const expected = EXPECTED[error.keyword]?.(details) ?? error.message ?? 'is not valid';
    throw new MatrixError(
      isOfNul(error) ? 'M_INVALID_PARAM' : 'M_BAD_JSON',
      path === '' ? `params ${expected}.` : `The member ${path} of params ${expected}.`,
    );
  };
};
