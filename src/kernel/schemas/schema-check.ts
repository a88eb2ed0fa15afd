import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import { holdsNul, isOfNul, storableSchema } from './storable-schema.ts';

/**
 * Unknown members are always allowed: the specification lets clients send them. Formats are for documents, not for checks.
 * `strict: false` since TypeBox writes keywords that ajv does not know.
 */
const ajv = new Ajv({ strict: false, allErrors: false, validateFormats: false, logger: false });
ajv.addKeyword(holdsNul);

/**
 * Checks values against a JSON Schema, and that the database can keep the texts which it declares: bodies, parameters, methods and payloads all
 * come by here. It is compiled when the first value comes: a server has hundreds of schemas, and most requests that it could be sent never are.
 *
 * @returns a function that returns undefined for what the schema allows, and else the most specific error
 */
export const schemaCheck = (schema: object): ((value: unknown) => ErrorObject | undefined) => {
  let validate: ValidateFunction | undefined;
  return (value) => {
    validate ??= ajv.compile(storableSchema(schema));
    if (validate(value)) return undefined;
    // That of a union stands behind those of its branches, that of a name before the one of its object.
    const error = validate.errors?.find(isOfNul) ?? validate.errors?.at(-1);
    if (error === undefined) throw new Error('ajv refused a value without an error.');
    return error;
  };
};
