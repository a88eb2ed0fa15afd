import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';

/**
 * Unknown members are always allowed: the specification lets clients send them. Formats are for documents, not for checks.
 * `strict: false` since TypeBox writes keywords that ajv does not know.
 */
const ajv = new Ajv({ strict: false, allErrors: false, validateFormats: false, logger: false });

/**
 * Checks values against a JSON Schema. It is compiled when the first value comes: a server has hundreds of schemas, and most requests that
 * it could be sent never are.
 *
 * @returns a function that returns undefined for what the schema allows, and else the most specific error
 */
export const schemaCheck = (schema: object): ((value: unknown) => ErrorObject | undefined) => {
  let validate: ValidateFunction | undefined;
  return (value) => {
    validate ??= ajv.compile(schema);
    if (validate(value)) return undefined;
    // That of a union stands behind those of its branches.
    const error = validate.errors?.at(-1);
    if (error === undefined) throw new Error('ajv refused a value without an error.');
    return error;
  };
};
