import { readFileSync } from 'node:fs';
import { isMap as isYamlMap, isScalar, parseDocument, type Pair, type YAMLMap } from 'yaml';
import { DEFAULT_CONFIG_FILE } from './load.ts';
import { configNode } from './schema.ts';
import { sectionOf, type SchemaNode } from './schema-walk.ts';

/**
 * The schema for editors and deployment tools (config/schema.json): types from the code, descriptions and defaults from
 * config/default.yaml. No key is required in an operator's file.
 */
export function publishedSchema(): string {
  const document = parseDocument(readFileSync(DEFAULT_CONFIG_FILE, 'utf8'));
  const root = document.contents;
  if (!isYamlMap(root)) throw new Error(`${DEFAULT_CONFIG_FILE} is not a map`);
  const schema = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Configuration of Tsudoi',
    ...describeSection(configNode, root),
  };
  return `${JSON.stringify(schema, undefined, 2)}\n`;
}

function describeSection(schema: SchemaNode, map: YAMLMap): Record<string, unknown> {
  const properties: Record<string, unknown> = {};
  for (const [name, below] of Object.entries(sectionOf(schema) ?? {})) {
    const pair = map.items.find((item) => isScalar(item.key) && item.key.value === name);
    if (pair === undefined) throw new Error(`${DEFAULT_CONFIG_FILE} lacks ${name}`);
    const description = commentOf(pair, map);
    const value = pair.value;
    if (sectionOf(below) !== undefined && isYamlMap(value)) {
      properties[name] = { description, ...describeSection(below, value) };
    } else {
      const { title, ...rest } = below;
      const value = map.toJSON() as Record<string, unknown>;
      properties[name] = { description, ...(title === undefined ? {} : { title }), ...rest, default: value[name] };
    }
  }
  return { type: 'object', additionalProperties: false, properties };
}

/** The comment above a key. The YAML parser attaches the comment above the first key of a map to the map. */
function commentOf(pair: Pair, map: YAMLMap): string {
  const own = isScalar(pair.key) ? pair.key.commentBefore : undefined;
  const comment = own ?? (map.items[0] === pair ? map.commentBefore : undefined) ?? '';
  const paragraphs = comment.split(/\n\s*\n/);
  return (paragraphs.at(-1) ?? '').replace(/\s*\n\s*/g, ' ').trim();
}
