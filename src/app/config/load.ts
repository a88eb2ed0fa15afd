import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseDocument } from 'yaml';
import { toConfig, type Config } from './config.ts';
import { findContradictions } from './contradictions.ts';
import { readEnvironment, type Environment } from './environment.ts';
import { configNode, type RawConfig } from './schema.ts';
import { findProblems, isMap, sectionOf, type ConfigProblem, type SchemaNode } from './schema-walk.ts';

export const DEFAULT_CONFIG_FILE = fileURLToPath(new URL('../../../config/default.yaml', import.meta.url));

/** The configuration cannot be used. The message names every key that is wrong, where it is set, and what is expected. */
export class ConfigError extends Error {
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super(
      [
        'The configuration cannot be used:',
        ...problems.map(({ key, source, problem }) => `  ${key} ${problem} (${source})`),
      ].join('\n'),
    );
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

interface Layer {
  readonly source: string;
  readonly values: Record<string, unknown>;
}

/**
 * Reads defaults, files and environment, in this order; later ones win.
 *
 * @param files YAML files, or directories whose `*.yaml` files are read in order
 * @throws ConfigError with all mistakes at once
 */
export function loadConfig(files: readonly string[], env: Environment): Config {
  const problems: ConfigProblem[] = [];
  const layers: Layer[] = [];
  for (const file of [DEFAULT_CONFIG_FILE, ...files.flatMap((path) => expand(path, problems))]) {
    const values = readLayer(file, problems);
    if (values !== undefined) layers.push({ source: file, values });
  }
  const environment = readEnvironment(env, configNode);
  problems.push(...environment.problems);
  layers.push(...environment.layers);

  const merged: Record<string, unknown> = {};
  const sources = new Map<string, string>();
  for (const { source, values } of layers) {
    const lenient = acceptNumbersForNames(configNode, values) as Record<string, unknown>;
    problems.push(...findProblems(configNode, lenient, source));
    merge(configNode, merged, lenient, source, sources, []);
  }
  if (problems.length > 0) throw new ConfigError(problems);

  const raw = merged as unknown as RawConfig;
  const contradictions = findContradictions(raw).map(({ key, problem }) => ({
    key,
    problem,
    source: sources.get(key) ?? sources.get(key.split('.').slice(0, -1).join('.')) ?? DEFAULT_CONFIG_FILE,
  }));
  if (contradictions.length > 0) throw new ConfigError(contradictions);
  return toConfig(raw);
}

function expand(path: string, problems: ConfigProblem[]): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    return readdirSync(path)
      .filter((name) => /\.ya?ml$/.test(name))
      .sort()
      .map((name) => join(path, name));
  } catch (error) {
    problems.push({ key: '--config', source: path, problem: `cannot be read: ${(error as Error).message}` });
    return [];
  }
}

function readLayer(file: string, problems: ConfigProblem[]): Record<string, unknown> | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    problems.push({ key: '--config', source: file, problem: `cannot be read: ${(error as Error).message}` });
    return undefined;
  }
  const document = parseDocument(text);
  const [error] = document.errors;
  if (error !== undefined) {
    problems.push({ key: '(the whole file)', source: file, problem: `is not YAML: ${error.message.trim()}` });
    return undefined;
  }
  const value: unknown = document.toJS() ?? {};
  if (isMap(value)) return value;
  problems.push({ key: '(the whole file)', source: file, problem: 'must be a map of keys' });
  return undefined;
}

/** `default_version: 12` is a number in YAML; where one of several names is expected, it counts as '12'. */
function acceptNumbersForNames(schema: SchemaNode, value: unknown): unknown {
  if (schema.enum !== undefined && typeof value === 'number') return String(value);
  const section = sectionOf(schema);
  if (section === undefined || !isMap(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, below]) => [key, acceptNumbersForNames(section[key] ?? {}, below)]),
  );
}

/** Sections are merged key by key; lists and maps are replaced as a whole. */
function merge(
  schema: SchemaNode,
  into: Record<string, unknown>,
  from: Record<string, unknown>,
  source: string,
  sources: Map<string, string>,
  path: readonly string[],
): void {
  const section = sectionOf(schema) ?? {};
  for (const [key, value] of Object.entries(from)) {
    const below = section[key];
    const here = [...path, key];
    if (below === undefined) continue;
    if (sectionOf(below) !== undefined && isMap(value)) {
      const target = (into[key] ??= {}) as Record<string, unknown>;
      merge(below, target, value, source, sources, here);
    } else {
      into[key] = value;
      sources.set(here.join('.'), source);
    }
  }
}
