/** The specification's OpenAPI documents: found, read, and searched for the operation that a request belongs to. */

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parse } from 'yaml';

export type Json = Readonly<Record<string, unknown>>;

const APIS = ['client-server', 'server-server', 'application-service', 'push-gateway', 'identity'] as const;
export type SpecificationApi = (typeof APIS)[number];

const METHODS = ['get', 'put', 'post', 'delete', 'patch'] as const;

export interface Operation {
  readonly api: SpecificationApi;
  readonly operationId: string;
  readonly method: string;
  /** With its base path, for example `/_matrix/client/v3/sync`. */
  readonly path: string;
  /** Where it is declared. */
  readonly at: Located;
}

/** A node of a document, with the way to it. */
export interface Located {
  readonly node: Json;
  readonly file: string;
  readonly pointer: readonly string[];
}

/** The folder with the specification's `data`, or undefined if this machine has none. */
export function specificationFolder(): string | undefined {
  const beside = fileURLToPath(new URL('../../../shared/matrix-spec/data', import.meta.url));
  const folder = process.env['MATRIX_SPEC_DIR'] ?? beside;
  return existsSync(join(folder, 'api', 'client-server')) ? resolve(folder) : undefined;
}

export class Specification {
  readonly folder: string;
  readonly operations: readonly Operation[];
  readonly #documents = new Map<string, unknown>();
  readonly #paths: PathNode = { literal: new Map(), byMethod: new Map() };

  constructor(folder: string) {
    this.folder = folder;
    this.operations = APIS.flatMap((api) => this.#operationsOf(api));
    for (const operation of this.operations) insert(this.#paths, operation);
  }

  /** A document, read once. */
  document(file: string): unknown {
    let document = this.#documents.get(file);
    if (document === undefined) {
      const text = readFileSync(file, 'utf8');
      document = file.endsWith('.json') ? JSON.parse(text) : parse(text);
      this.#documents.set(file, document);
    }
    return document;
  }

  /** The operation that answers a request, or undefined if the specification has none. Other releases of an endpoint count as v3. */
  find(method: string, url: string): Operation | undefined {
    const [path = ''] = url.split('?', 1);
    const segments = path.replace('/_matrix/client/r0/', '/_matrix/client/v3/').split('/');
    return search(this.#paths, segments, 0, method.toUpperCase());
  }

  /** Follows the `$ref`s of a node until there is none. */
  follow(at: Located): Located {
    const ref = at.node['$ref'];
    if (typeof ref !== 'string') return at;
    const [path = '', fragment = ''] = ref.split('#');
    const file = path === '' ? at.file : resolve(dirname(at.file), path);
    const pointer = fragment
      .split('/')
      .slice(1)
      .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
    let node = this.document(file);
    for (const part of pointer) node = (node as Json | undefined)?.[part];
    if (typeof node !== 'object' || node === null) throw new Error(`${at.file}: nothing at ${ref}`);
    return this.follow({ node: node as Json, file, pointer });
  }

  /** A member of a node, with its `$ref`s followed; undefined if there is none. */
  child(at: Located, ...names: readonly string[]): Located | undefined {
    let here = this.follow(at);
    for (const name of names) {
      const node = here.node[name];
      if (typeof node !== 'object' || node === null) return undefined;
      here = this.follow({ node: node as Json, file: here.file, pointer: [...here.pointer, name] });
    }
    return here;
  }

  /** An example, with the documents that it is put together from: members beside a `$ref` are laid over what it names. */
  example(value: unknown, file: string): unknown {
    if (Array.isArray(value)) return value.map((entry) => this.example(entry, file));
    if (typeof value !== 'object' || value === null) return value;
    const { $ref: ref, ...own } = value as Json;
    const members = Object.fromEntries(Object.entries(own).map(([name, member]) => [name, this.example(member, file)]));
    if (typeof ref !== 'string') return ref === undefined ? members : { $ref: ref, ...members };
    const named = resolve(dirname(file), ref);
    return overlay(this.example(this.document(named), named), members);
  }

  #operationsOf(api: SpecificationApi): Operation[] {
    const folder = join(this.folder, 'api', api);
    const operations: Operation[] = [];
    for (const name of readdirSync(folder).filter((entry) => entry.endsWith('.yaml'))) {
      const file = join(folder, name);
      const root = this.document(file) as Json;
      const basePath = (
        ((root['servers'] as Json[] | undefined)?.[0]?.['variables'] as Json | undefined)?.['basePath'] as
          | Json
          | undefined
      )?.['default'];
      for (const [path, item] of Object.entries((root['paths'] ?? {}) as Record<string, Json>)) {
        for (const method of METHODS) {
          const node = item[method] as Json | undefined;
          if (node === undefined) continue;
          operations.push({
            api,
            operationId: String(node['operationId']),
            method: method.toUpperCase(),
            // A second description of an endpoint is told apart by a space at the end of its path.
            path: `${typeof basePath === 'string' ? basePath : ''}${path.trimEnd()}`,
            at: { node, file, pointer: ['paths', path, method] },
          });
        }
      }
    }
    return operations;
  }
}

/** The address of a node for `$ref`. */
export function addressOf({ file, pointer }: Pick<Located, 'file' | 'pointer'>): string {
  const parts = pointer.map((part) => `/${encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'))}`);
  return `${pathToFileURL(file).href}#${parts.join('')}`;
}

function overlay(below: unknown, above: Json): unknown {
  if (typeof below !== 'object' || below === null || Array.isArray(below))
    return Object.keys(above).length === 0 ? below : above;
  const result: Record<string, unknown> = { ...below };
  for (const [name, value] of Object.entries(above)) {
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    result[name] = isObject ? overlay(result[name], value as Json) : value;
  }
  return result;
}

/** Paths by segments: literal ones before parameters. */
interface PathNode {
  readonly literal: Map<string, PathNode>;
  parameter?: PathNode;
  /** Whether the parameter may be empty, as state keys may. */
  mayBeEmpty?: boolean;
  readonly byMethod: Map<string, Operation>;
}

function insert(root: PathNode, operation: Operation): void {
  let node = root;
  for (const segment of operation.path.split('/')) {
    let next = segment.startsWith('{') ? node.parameter : node.literal.get(segment);
    if (next === undefined) {
      next = { literal: new Map(), byMethod: new Map() };
      if (segment.startsWith('{')) node.parameter = next;
      else node.literal.set(segment, next);
    }
    if (segment === '{stateKey}') node.mayBeEmpty = true;
    node = next;
  }
  if (!node.byMethod.has(operation.method)) node.byMethod.set(operation.method, operation);
}

function search(node: PathNode, segments: readonly string[], at: number, method: string): Operation | undefined {
  const segment = segments[at];
  if (segment === undefined) return node.byMethod.get(method);
  const literal = node.literal.get(segment);
  const found = literal === undefined ? undefined : search(literal, segments, at + 1, method);
  if (found !== undefined || node.parameter === undefined || (segment === '' && node.mayBeEmpty !== true)) return found;
  return search(node.parameter, segments, at + 1, method);
}
