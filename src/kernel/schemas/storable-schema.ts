import { _, type CodeKeywordDefinition } from 'ajv';

const KEYWORD = 'holdsNul';

/** The keyword of a storable text. PostgreSQL cannot keep a NUL in its texts. */
export const holdsNul: CodeKeywordDefinition = {
  keyword: KEYWORD,
  type: 'string',
  schemaType: 'boolean',
  error: { message: 'must not hold a NUL character' },
  code: (context) => context.fail(_`${context.data}.includes("\\0")`),
};

/** Whether an error says that a text holds a NUL. */
export const isOfNul = ({ keyword }: { readonly keyword: string }): boolean => keyword === KEYWORD;

interface Schema {
  readonly type?: string | readonly string[];
  readonly properties?: Schemas;
  readonly patternProperties?: Schemas;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
}
type Schemas = Readonly<Record<string, Schema>>;

const STORABLE_TEXT = { type: 'string', [KEYWORD]: false };

/** The pattern that TypeBox writes for names that may be anything. It does not match a name with a line break in it. */
const ANY_NAME = '^.*$';

/**
 * A JSON Schema that allows the same, but no NUL in texts that it declares, or in names of maps of declared values. What may be anything, as
 * the content of an event, stays as it is: it is stored as JSON, in which a NUL is an escape.
 */
export const storableSchema = (schema: Schema): object => {
  const { additionalProperties, anyOf, items, patternProperties = {}, properties, type } = schema;
  const { [ANY_NAME]: ofAnyName, ...ofPatterns } = patternProperties;
  const others = ofAnyName ?? additionalProperties;
  const areOthersDeclared = typeof others === 'object' && Object.keys(others).length > 0;
  return {
    ...schema,
    ...([type].flat().includes('string') ? { [KEYWORD]: false } : {}),
    ...(anyOf === undefined ? {} : { anyOf: anyOf.map(storableSchema) }),
    ...(items === undefined ? {} : { items: storableSchema(items) }),
    ...(properties === undefined ? {} : { properties: ofEach(properties) }),
    patternProperties: ofEach(ofPatterns),
    ...(areOthersDeclared ? { additionalProperties: storableSchema(others), propertyNames: STORABLE_TEXT } : {}),
  };
};

const ofEach = (schemas: Schemas): Record<string, object> =>
  Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, storableSchema(schema)]));
