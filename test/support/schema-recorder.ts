/**
 * Checks the responses that tests receive against the response schemas of the specification's OpenAPI documents.
 *
 * Every helper that talks to a server passes what it received to `recorder.record`; a root hook calls
 * `recorder.assertNoViolations()` after the last test. Where the specification's folder is missing the recorder is not
 * `available`, checks nothing, and tests of it are skipped.
 */

import { dirname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ErrorObject, ValidateFunction } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import {
  type Json,
  type Located,
  type Operation,
  Specification,
  addressOf,
  specificationFolder,
} from './specification.ts';

const SERVER_NAME = String.raw`(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?`;

/** The grammars of the formats that string-formats.yaml names (appendices, "Identifier Grammar"). Other formats are tolerated. */
const FORMATS: Readonly<Record<string, RegExp>> = {
  'mx-user-id': new RegExp(`^@[^:\\0]*:${SERVER_NAME}$`, 'su'),
  'mx-event-id': new RegExp(`^\\$(?:[A-Za-z0-9+/_-]{43}|[^:\\0]*:${SERVER_NAME})$`, 'su'),
  'mx-room-id': new RegExp(`^!(?:[A-Za-z0-9_-]{43}|[^:\\0]*:${SERVER_NAME})$`, 'su'),
  'mx-room-alias': new RegExp(`^#[^:\\0]*:${SERVER_NAME}$`, 'su'),
  'mx-server-name': new RegExp(`^${SERVER_NAME}$`),
  'mx-mxc-uri': new RegExp(`^mxc://${SERVER_NAME}/[A-Za-z0-9_-]+$`),
  'mx-unpadded-base64': /^[A-Za-z0-9+/]*$/,
  'mx-urlsafe-unpadded-base64': /^[A-Za-z0-9_-]*$/,
  uri: /^[A-Za-z][A-Za-z0-9+.-]*:\S*$/,
  email: /^[^@\s]+@[^@\s]+$/,
};

/** Answers in which this server follows the habit of all others where the specification's schema has it otherwise: as the schema has them. */
const HABITS: Readonly<Record<string, (body: unknown) => unknown>> = {
  // `null` for what a member has not set, and for a device without a name.
  getJoinedMembersByRoom: (body) => without(body, ['display_name', 'avatar_url']),
  getDevices: (body) => without(body, ['display_name']),
  getDevice: (body) => without(body, ['display_name']),
  // A device without keys: `m.device_list_update` may leave them out, and here they are required.
  getUserDevices: (body) => ({
    ...(body as Readonly<Record<string, unknown>>),
    devices: (body as { readonly devices?: readonly Readonly<Record<string, unknown>>[] }).devices?.filter(
      ({ keys }) => keys !== undefined,
    ),
  }),
  // "All other fields of the events should remain untouched", and events have no `origin`: no room version knows one any more.
  sendInviteV1: (body) => (Array.isArray(body) ? [body[0], withOrigin(body[1])] : body),
  sendInviteV2: (body) => withOrigin(body),
};

/** A body without those of its members of these names that are null. */
function without(body: unknown, names: readonly string[]): unknown {
  return JSON.parse(JSON.stringify(body), (name, value: unknown) =>
    value === null && names.includes(name) ? undefined : value,
  ) as unknown;
}

/** An answer whose event says by which server it was made. */
const withOrigin = (body: unknown): unknown => {
  const { event, ...rest } = body as { readonly event?: Json };
  return event === undefined ? rest : { ...rest, event: { origin: event['sender'], ...event } };
};

/** Errors that any endpoint with authentication may answer, whatever its own description of the status is. */
const TOKEN_ERRORS: ReadonlySet<unknown> = new Set(['M_UNKNOWN_TOKEN', 'M_MISSING_TOKEN', 'M_USER_LOCKED']);

export class SchemaRecorder {
  readonly #folder: string | undefined;
  #specification: Specification | undefined;
  readonly #ajv = new Ajv2020({ strict: false, allErrors: true, validateSchema: false, logger: false });
  readonly #registered = new Set<string>();
  readonly #validators = new Map<string, ValidateFunction>();
  /** Violation -> how often it was seen. */
  readonly #seen = new Map<string, number>();
  #checked = 0;

  /** @param folder the specification's `data` folder */
  constructor(folder: string | undefined = specificationFolder()) {
    this.#folder = folder;
  }

  /** Read when it is first asked for, which takes about half a second. */
  get specification(): Specification | undefined {
    if (this.#folder === undefined || this.#specification !== undefined) return this.#specification;
    this.#specification = new Specification(this.#folder);
    const named = Object.keys(this.#specification.document(resolve(this.#folder, 'string-formats.yaml')) as Json);
    for (const name of named) this.#ajv.addFormat(name, FORMATS[name] ?? true);
    this.#ajv.addFormat('int64', true);
    this.#ajv.addFormat('float', true);
    return this.#specification;
  }

  /** Whether the specification is there to check against. */
  get available(): boolean {
    return this.#folder !== undefined;
  }

  /** How many recorded responses had a schema to be checked against. */
  get checked(): number {
    return this.#checked;
  }

  /**
   * What is wrong with a response, one sentence for each fault, without remembering it.
   *
   * @param url the path, with or without a query
   * @param body the parsed JSON; undefined if the response had none
   * @returns nothing for endpoints that the specification does not have
   */
  check(method: string, url: string, status: number, body: unknown): string[] {
    const operation = this.specification?.find(method, url);
    return operation === undefined ? [] : this.checkOperation(operation, status, body);
  }

  /** As `check`, where the operation is known. */
  checkOperation(operation: Operation, status: number, body: unknown): string[] {
    const specification = this.specification!;
    const name = `${operation.method} ${operation.path} (${operation.operationId}) ${status}`;
    const response = specification.child(operation.at, 'responses', String(status));
    if (response === undefined && status < 400) return [`${name}: the specification knows no such status here`];
    const isTokenError = status === 401 && TOKEN_ERRORS.has((body as Json | undefined)?.['errcode']);
    const schema =
      response === undefined || isTokenError
        ? this.#errorSchema()
        : specification.child(response, 'content', 'application/json', 'schema');
    if (schema === undefined) return [];
    if (body === undefined) return [`${name}: the body is not JSON`];
    const validate = this.#validator(schema);
    if (validate(HABITS[operation.operationId]?.(body) ?? body)) return [];
    const faults = (validate.errors ?? []).filter((error) => !isOverlap(error));
    return [...new Set(faults.map((error) => `${name}: ${sentenceOf(error)}`))];
  }

  /** Checks a response and remembers what is wrong with it for `assertNoViolations`. */
  record(method: string, url: string, status: number, body: unknown): void {
    // MSC4140 once gave these endpoints another answer when an event is to be sent later, and clients rely on it.
    if (url.includes('org.matrix.msc4140.delay=')) return;
    // Its text says that it uses user-interactive authentication, its file lists no answer for that.
    if (status === 401 && url.includes('/keys/device_signing/upload')) return;
    if (this.specification?.find(method, url) === undefined) return;
    this.#checked++;
    for (const violation of this.check(method, url, status, body))
      this.#seen.set(violation, (this.#seen.get(violation) ?? 0) + 1);
  }

  /**
   * The same for a request of ours to an application service: it has to be one that the specification has, with the body that belongs to it.
   * Ways of earlier versions are not looked at.
   *
   * @param url may have a path before the specification's own
   */
  recordRequest(method: string, url: string, body: unknown): void {
    const at = url.indexOf('/_matrix/app/v1/');
    if (at === -1 || this.specification === undefined) return;
    const operation = this.specification.find(method, url.slice(at));
    this.#checked++;
    const faults =
      operation === undefined ? [`${method} /_matrix/app/...: no such operation`] : this.#bodyFaults(operation, body);
    for (const fault of faults) this.#seen.set(fault, (this.#seen.get(fault) ?? 0) + 1);
  }

  #bodyFaults(operation: Operation, body: unknown): string[] {
    const schema = this.specification?.child(operation.at, 'requestBody', 'content', 'application/json', 'schema');
    const name = `${operation.method} ${operation.path} (${operation.operationId}), request`;
    if (schema === undefined) return body === undefined ? [] : [`${name}: it has no body`];
    const validate = this.#validator(schema);
    if (validate(body)) return [];
    const faults = (validate.errors ?? []).filter((error) => !isOverlap(error));
    return [...new Set(faults.map((error) => `${name}: ${sentenceOf(error)}`))];
  }

  /** What was recorded: each violation once, with how often it was seen. */
  violations(): readonly string[] {
    return [...this.#seen]
      .map(([violation, times]) => (times === 1 ? violation : `${violation} [${times} times]`))
      .sort();
  }

  /** Throws if any recorded response broke its schema. */
  assertNoViolations(): void {
    const violations = this.violations();
    if (violations.length === 0) return;
    throw new Error(
      `${violations.length} ways in which responses break the specification's schemas:\n  ${violations.join('\n  ')}`,
    );
  }

  #errorSchema(): Located {
    const file = resolve(this.specification!.folder, 'api/client-server/definitions/errors/error.yaml');
    return { node: this.specification!.document(file) as Json, file, pointer: [] };
  }

  #validator(schema: Located): ValidateFunction {
    const address = addressOf(schema);
    let validator = this.#validators.get(address);
    if (validator === undefined) {
      this.#register(schema.file);
      validator = this.#ajv.compile({ $ref: address });
      this.#validators.set(address, validator);
    }
    return validator;
  }

  /** Makes a document and all that it refers to known to the validator. */
  #register(file: string): void {
    if (this.#registered.has(file)) return;
    this.#registered.add(file);
    const document = this.specification!.document(file);
    this.#ajv.addSchema(document as Json, pathToFileURL(file).href);
    for (const path of referredFiles(document)) this.#register(resolve(dirname(file), path));
  }
}

/** The recorder of this test run. */
export const recorder = new SchemaRecorder();

/** More than one alternative matches: the specification's own alternatives overlap (a state event's content, or the whole event). */
const isOverlap = ({ keyword, params }: ErrorObject): boolean =>
  keyword === 'oneOf' && Array.isArray((params as Json)['passingSchemas']);

/** The files named by the `$ref`s of a document's schemas; examples have references of their own kind. */
function referredFiles(node: unknown, found = new Set<string>()): Set<string> {
  if (Array.isArray(node)) {
    for (const entry of node) referredFiles(entry, found);
  } else if (typeof node === 'object' && node !== null) {
    for (const [name, value] of Object.entries(node)) {
      if (name === '$ref' && typeof value === 'string') {
        const [path = ''] = value.split('#');
        if (path !== '') found.add(path);
      } else if (name !== 'example' && name !== 'examples') {
        referredFiles(value, found);
      }
    }
  }
  return found;
}

/** Indexes and identifiers in the path to a field vary from response to response: without them equal faults are equal. */
function sentenceOf(error: ErrorObject): string {
  const field = error.instancePath
    .split('/')
    .map((part) => (/^(?:[0-9]+|[!@$#].*|.*:.*)$/.test(part) ? '*' : part))
    .join('/');
  const allowed = error.keyword === 'enum' ? `: ${JSON.stringify((error.params as Json)['allowedValues'])}` : '';
  const extra =
    error.keyword === 'additionalProperties' ? `: ${String((error.params as Json)['additionalProperty'])}` : '';
  return `${field === '' ? 'the body' : field} ${error.message ?? 'is wrong'}${allowed}${extra}`;
}
