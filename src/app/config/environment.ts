import { readFileSync } from 'node:fs';
import { isMap, matches, sectionOf, type ConfigProblem, type SchemaNode } from './schema-walk.ts';

const PREFIX = 'TSUDOI_';
const FILE_SUFFIX = '_FILE';

export type Environment = Readonly<Record<string, string | undefined>>;

/** A key that is set by the environment. */
interface Found {
  readonly path: readonly string[];
  readonly schema: SchemaNode;
}

/** An environment variable as a configuration of one key. */
export interface EnvironmentLayer {
  readonly source: string;
  readonly values: Record<string, unknown>;
}

/** Reads all `TSUDOI_...` variables. */
export function readEnvironment(
  env: Environment,
  schema: SchemaNode,
): { layers: EnvironmentLayer[]; problems: ConfigProblem[] } {
  const layers: EnvironmentLayer[] = [];
  const problems: ConfigProblem[] = [];
  const seen = new Map<string, string>();
  for (const [name, raw] of Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (raw === undefined || !name.startsWith(PREFIX)) continue;
    const source = `environment variable ${name}`;
    let found = find(schema, name.slice(PREFIX.length));
    let value = raw;
    // A key may end with _file itself (tls.cert_file): the key as it stands comes first.
    if (found === undefined && name.endsWith(FILE_SUFFIX)) {
      found = find(schema, name.slice(PREFIX.length, -FILE_SUFFIX.length));
      if (found !== undefined) {
        try {
          value = readFileSync(raw, 'utf8').replace(/\r?\n$/, '');
        } catch (error) {
          problems.push({
            key: found.path.join('.'),
            source,
            problem: `names a file that cannot be read: ${(error as Error).message}`,
          });
          continue;
        }
      }
    }
    if (found === undefined) {
      const key = name.slice(PREFIX.length).toLowerCase().split('__').join('.');
      problems.push({ key, source, problem: 'is not a key of the configuration; config/default.yaml lists them all' });
      continue;
    }
    const key = found.path.join('.');
    const other = seen.get(key);
    if (other !== undefined) {
      problems.push({ key, source, problem: `is set by ${other} as well; leave one of them out` });
      continue;
    }
    seen.set(key, name);
    layers.push({ source, values: nest(found.path, convert(found.schema, value)) });
  }
  return { layers, problems };
}

/** `RATE_LIMITS__LOGIN__BURST` -> the key and its schema. */
function find(schema: SchemaNode, name: string): Found | undefined {
  const path: string[] = [];
  let node: SchemaNode | undefined = schema;
  for (const part of name.toLowerCase().split('__')) {
    const section: Readonly<Record<string, SchemaNode>> | undefined = sectionOf(node);
    node = section?.[part];
    if (node === undefined) return undefined;
    path.push(part);
  }
  return node === undefined ? undefined : { path, schema: node };
}

function nest(path: readonly string[], value: unknown): Record<string, unknown> {
  return path.reduceRight<unknown>((inner, name) => ({ [name]: inner }), value) as Record<string, unknown>;
}

/** Converts text to the schema's type. Text that does not fit stays text, so that the check reports it. */
function convert(schema: SchemaNode, text: string): unknown {
  if (schema.anyOf !== undefined) {
    if (text === '' || text === 'null') return null;
    for (const option of schema.anyOf) {
      if (option.type === 'null') continue;
      const value = convert(option, text);
      if (matches(option, value)) return value;
    }
    return text;
  }
  switch (schema.type) {
    case 'boolean':
      if (/^(true|yes|on|1)$/i.test(text)) return true;
      if (/^(false|no|off|0)$/i.test(text)) return false;
      return text;
    case 'integer':
    case 'number':
      return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text;
    case 'array':
      if (text.trim() === '') return [];
      return json(text, Array.isArray) ?? items(text).map((item) => convert(schema.items ?? {}, item));
    case 'object': {
      if (text.trim() === '') return {};
      const parsed = json(text, isMap);
      if (parsed !== undefined) return parsed;
      const pairs = items(text).map((item) => [
        item.slice(0, item.indexOf('=')).trim(),
        item.slice(item.indexOf('=') + 1).trim(),
      ]);
      return items(text).every((item) => item.indexOf('=') > 0) ? Object.fromEntries(pairs) : text;
    }
    default:
      return text;
  }
}

function items(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function json<T>(text: string, fits: (value: unknown) => value is T): T | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return fits(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
