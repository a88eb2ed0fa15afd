import type { ErrorObject } from 'ajv';
import { type TObject, type TSchema, type TString, type TUnsafe, Type } from 'typebox';
import { schemaCheck } from '#src/kernel/schemas/schema-check.ts';
import { isOfNul } from '#src/kernel/schemas/storable-schema.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';

/** `/a/0/b~1c` as `a[0].b/c`. */
const memberName = (error: ErrorObject): string =>
  error.instancePath
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce((name, part) => (/^\d+$/.test(part) ? `${name}[${part}]` : name === '' ? part : `${name}.${part}`), '');

const missingName = (error: ErrorObject): string => {
  const parent = memberName(error);
  const missing = String((error.params as { missingProperty: unknown }).missingProperty);
  return parent === '' ? missing : `${parent}.${missing}`;
};

const expectation = (error: ErrorObject): string => {
  const params = error.params as Record<string, unknown>;
  switch (error.keyword) {
    case 'const':
      return `must be ${JSON.stringify(params['allowedValue'])}`;
    case 'enum':
      return `must be one of ${(params['allowedValues'] as unknown[]).map((value) => JSON.stringify(value)).join(', ')}`;
    case 'anyOf':
    case 'oneOf':
      return 'has none of the forms that are allowed here';
    default:
      return error.message ?? 'is not valid';
  }
};

interface ShapeSchema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, ShapeSchema>>;
  readonly required?: readonly string[];
  readonly anyOf?: readonly ShapeSchema[];
}

const takesNull = ({ type, anyOf }: ShapeSchema): boolean =>
  anyOf === undefined ? type === undefined || type === 'null' : anyOf.some(takesNull);

/**
 * Removes members that are null where they may as well be absent: many clients write what they do not say as null. Members that are not
 * declared stay as they are, and so does null where the schema gives it a meaning.
 */
const nullRemover = ({ type, properties, required = [] }: ShapeSchema): ((value: unknown) => void) | undefined => {
  if (type !== 'object' || properties === undefined) return undefined;
  const members = Object.entries(properties);
  const optional = members.filter(([name, schema]) => !required.includes(name) && !takesNull(schema));
  const inner = members.flatMap(([name, schema]) => {
    const remove = nullRemover(schema);
    return remove === undefined ? [] : [{ name, remove }];
  });
  return (value) => {
    if (typeof value !== 'object' || value === null) return;
    const body = value as Record<string, unknown>;
    for (const [name] of optional) if (body[name] === null) Reflect.deleteProperty(body, name);
    for (const { name, remove } of inner) remove(body[name]);
  };
};

/**
 * Checks JSON bodies, and leaves out optional members that are null.
 *
 * @returns a function that throws M_MISSING_PARAM when a member of the body itself is missing, M_INVALID_PARAM for a NUL in a text and M_BAD_JSON
 *   for everything else
 */
export const bodyValidator = (schema: TSchema): ((body: unknown) => void) => {
  const check = schemaCheck(schema);
  const removeNulls = nullRemover(schema as ShapeSchema);
  return (body) => {
    removeNulls?.(body);
    const error = check(body);
    if (error === undefined) return;
    const name = error.keyword === 'required' ? missingName(error) : memberName(error);
    if (error.keyword === 'required') {
      throw new MatrixError(
        error.instancePath === '' ? 'M_MISSING_PARAM' : 'M_BAD_JSON',
        `The member ${name} is missing from the body.`,
      );
    }
    throw new MatrixError(
      isOfNul(error) ? 'M_INVALID_PARAM' : 'M_BAD_JSON',
      name === '' ? `The body ${expectation(error)}.` : `The member ${name} ${expectation(error)}.`,
    );
  };
};

type Convert = (value: string) => unknown;

const toInteger: Convert = (value) => (/^-?\d+$/.test(value) ? Number(value) : value);
const toNumber: Convert = (value) => (/^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value);
const toBoolean: Convert = (value) => (value === 'true' ? true : value === 'false' ? false : value);
const asText: Convert = (value) => value;

interface LooseSchema {
  readonly type?: string;
  readonly items?: LooseSchema;
  readonly [DECODE]?: (text: string) => unknown;
  readonly [KEEPS_EMPTY]?: boolean;
  readonly anyOf?: readonly LooseSchema[];
}

/** What cannot be converted stays text, and is refused by the schema afterwards with the right message. */
const converter = (schema: LooseSchema | undefined): Convert => {
  switch (schema?.type) {
    case 'integer':
      return toInteger;
    case 'number':
      return toNumber;
    case 'boolean':
      return toBoolean;
    default:
      return asText;
  }
};

/** The member of a schema that holds its decoder. */
const DECODE = Symbol('decode');

/**
 * A parameter whose text stands for something else: once it is checked, the handler is given what `decode` makes of it.
 *
 * @param decode may throw MatrixError
 */
export const decoded = <T>(schema: TString, decode: (text: string) => T): TUnsafe<T> =>
  Type.Unsafe<T>(Object.assign({ ...schema }, { [DECODE]: decode }));

const KEEPS_EMPTY = Symbol('keeps empty');

/** A list for which an empty value has a meaning: it does not count as absent. */
export const keepsEmpty = <T extends TSchema>(schema: T): T => Object.assign({ ...schema }, { [KEEPS_EMPTY]: true });

/** What arrives as text: one value, or several where a key was repeated. */
export type Texts = Readonly<Record<string, string | string[] | undefined>>;

const firstOfEach = (texts: Texts): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(texts).flatMap(([name, given]) => {
      const value = typeof given === 'string' ? given : given?.[0];
      return value === undefined ? [] : [[name, value]];
    }),
  );

/**
 * Converts and checks parameters of a path, a query or a form. Keys that are not declared are left out, unless the schema says what they are; of a repeated key that is not declared as an
 * array the first counts. An optional query parameter without a value (`?from=&limit=10`) counts as absent: it is how many clients write that.
 *
 * @returns a function that throws M_MISSING_PARAM or M_INVALID_PARAM
 */
export const textValidator = (
  schema: TObject,
  what: 'path' | 'query' | 'form',
): ((texts: Texts) => Record<string, unknown>) => {
  const check = schemaCheck(schema);
  const fields = Object.entries(schema.properties as Record<string, LooseSchema>).map(([name, property]) => ({
    name,
    isArray: property.type === 'array',
    mayBeAbsent: what !== 'path' && !(schema.required ?? []).includes(name) && property[KEEPS_EMPTY] !== true,
    convert: converter(property.type === 'array' ? property.items : property),
  }));
  const decoders = Object.entries(schema.properties as Record<string, LooseSchema>).flatMap(([name, property]) => {
    const decode = property[DECODE];
    return decode === undefined ? [] : [{ name, decode }];
  });
  // All other parameters, as text.
  const takesMore = typeof (schema as { readonly additionalProperties?: unknown }).additionalProperties === 'object';
  return (texts) => {
    const result: Record<string, unknown> = takesMore ? firstOfEach(texts) : {};
    for (const { name, isArray, mayBeAbsent, convert } of fields) {
      const given = texts[name];
      if (given === undefined) continue;
      const all = typeof given === 'string' ? [given] : given;
      const values = mayBeAbsent ? all.filter((value) => value !== '') : all;
      if (values.length === 0) continue;
      result[name] = isArray ? values.map(convert) : convert(values[0] as string);
    }
    const error = check(result);
    if (error === undefined) {
      for (const { name, decode } of decoders)
        if (result[name] !== undefined) result[name] = decode(result[name] as string);
      return result;
    }
    if (error.keyword === 'required')
      throw new MatrixError('M_MISSING_PARAM', `The ${what} parameter ${missingName(error)} is missing.`);
    throw new MatrixError('M_INVALID_PARAM', `The ${what} parameter ${memberName(error)} ${expectation(error)}.`);
  };
};
