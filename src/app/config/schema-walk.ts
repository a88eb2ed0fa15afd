/** The parts of a schema that the loader reads. TypeBox schemas are plain JSON Schema objects. */
export interface SchemaNode {
  readonly type?: string;
  readonly title?: string;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly SchemaNode[];
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly required?: readonly string[];
  readonly patternProperties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly minLength?: number;
}

/** A mistake in the configuration. */
export interface ConfigProblem {
  /** Path of the key, levels joined by dots. */
  readonly key: string;
  /** The file or environment variable that sets it. */
  readonly source: string;
  /** What is wrong and what is expected. */
  readonly problem: string;
}

/** Describes the values of this schema: "an integer from 0 to 65535, or null". */
function describe(schema: SchemaNode): string {
  if (schema.anyOf !== undefined) return schema.anyOf.map(describe).join(', or ');
  if (schema.enum !== undefined) return `one of ${schema.enum.join(', ')}`;
  if (schema.title !== undefined) return schema.title;
  switch (schema.type) {
    case 'null':
      return 'null';
    case 'boolean':
      return 'true or false';
    case 'integer':
    case 'number': {
      const name = schema.type === 'integer' ? 'an integer' : 'a number';
      if (schema.exclusiveMinimum !== undefined) return `${name} above ${schema.exclusiveMinimum}`;
      if (schema.maximum !== undefined) return `${name} from ${schema.minimum ?? 0} to ${schema.maximum}`;
      return schema.minimum === undefined ? name : `${name} of at least ${schema.minimum}`;
    }
    case 'string':
      return schema.minLength === undefined ? 'a string' : 'a string that is not empty';
    case 'array':
      return `a list, each ${describe(schema.items ?? {})}`;
    case 'object': {
      const value = Object.values(schema.patternProperties ?? {})[0];
      if (schema.properties !== undefined) return `a section with ${Object.keys(schema.properties).join(', ')}`;
      return value?.type === undefined ? 'a map' : `a map, each value ${describe(value)}`;
    }
    default:
      return 'anything';
  }
}

/** The schema of a section, whose keys we know; undefined for everything else. */
export function sectionOf(schema: SchemaNode): Readonly<Record<string, SchemaNode>> | undefined {
  return schema.properties;
}

export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether `value` matches the schema, with nothing missing. */
export function matches(schema: SchemaNode, value: unknown): boolean {
  if (schema.anyOf !== undefined) return schema.anyOf.some((option) => matches(option, value));
  if (schema.enum !== undefined) return schema.enum.includes(value);
  switch (schema.type) {
    case 'null':
      return value === null;
    case 'boolean':
      return typeof value === 'boolean';
    case 'integer':
    case 'number':
      return (
        typeof value === 'number' &&
        Number.isFinite(value) &&
        (schema.type === 'number' || Number.isSafeInteger(value)) &&
        value >= (schema.minimum ?? -Infinity) &&
        value <= (schema.maximum ?? Infinity) &&
        value > (schema.exclusiveMinimum ?? -Infinity)
      );
    case 'string':
      return (
        typeof value === 'string' &&
        value.length >= (schema.minLength ?? 0) &&
        (schema.pattern === undefined || new RegExp(schema.pattern, 'u').test(value))
      );
    case 'array':
      return Array.isArray(value) && value.every((item) => matches(schema.items ?? {}, item));
    case 'object': {
      if (!isMap(value)) return false;
      const each = Object.values(schema.patternProperties ?? {})[0] ?? {};
      if (schema.properties === undefined) return Object.values(value).every((item) => matches(each, item));
      const { properties, required = [] } = schema;
      const isKnown = ([name, item]: [string, unknown]): boolean =>
        properties[name] !== undefined && matches(properties[name], item);
      return required.every((name) => name in value) && Object.entries(value).every(isKnown);
    }
    default:
      return true;
  }
}

/**
 * Checks one source and returns all its mistakes. It need not set all keys.
 */
export function findProblems(
  schema: SchemaNode,
  value: unknown,
  source: string,
  path: readonly string[] = [],
): ConfigProblem[] {
  const key = path.join('.') || '(the whole file)';
  const section = sectionOf(schema);
  if (section === undefined || !isMap(value)) {
    if (matches(schema, value)) return [];
    return [{ key, source, problem: `must be ${describe(schema)}, but is ${show(key, value)}` }];
  }
  return Object.entries(value).flatMap(([name, below]) => {
    const known = section[name];
    if (known !== undefined) return findProblems(known, below, source, [...path, name]);
    const names = Object.keys(section);
    const near = nearest(name, names);
    const hint = near === undefined ? `known here: ${names.join(', ')}` : `did you mean ${near}?`;
    return [{ key: [...path, name].join('.'), source, problem: `is not a key of the configuration; ${hint}` }];
  });
}

/** A value for a message that is logged: without secrets and the passwords in URLs. */
function show(key: string, value: unknown): string {
  if (/(secret|token|access_key|password)/.test(key.slice(key.lastIndexOf('.')))) return 'not that (not shown here)';
  const json = (JSON.stringify(value) ?? String(value)).replace(/\/\/[^/"]*@/g, '//...@');
  return json.length > 60 ? `${json.slice(0, 60)}...` : json;
}

/** The known name that is at most two edits away. */
function nearest(name: string, known: readonly string[]): string | undefined {
  const ranked = known
    .map((other) => ({ other, distance: editDistance(name, other) }))
    .sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  return best !== undefined && best.distance <= 2 ? best.other : undefined;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
