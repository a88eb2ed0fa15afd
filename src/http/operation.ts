import type { TObject } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { bodyValidator, type Texts, textValidator } from './middleware/validation.ts';
import { type Endpoint, FormBody, RawBody, StreamBody } from './endpoint.ts';
import { Router } from './router.ts';

/** The folder of the specification that an operation belongs to, or `server` for what is Tsudoi's own. */
export type Api =
  | 'client-server'
  | 'server-server'
  | 'application-service'
  | 'identity'
  | 'synapse-admin'
  | 'well-known'
  | 'server';

const PREFIXES: readonly (readonly [string, Api])[] = [
  ['/_matrix/client/', 'client-server'],
  ['/_matrix/media/', 'client-server'],
  ['/_matrix/federation/', 'server-server'],
  ['/_matrix/key/', 'server-server'],
  ['/_matrix/policy/', 'server-server'],
  ['/_matrix/app/', 'application-service'],
  ['/_matrix/identity/', 'identity'],
  ['/_synapse/metrics', 'server'],
  ['/_synapse/', 'synapse-admin'],
  ['/.well-known/', 'well-known'],
];

export const apiOf = (endpoint: Endpoint): Api =>
  PREFIXES.find(([prefix]) => endpoint.path.startsWith(prefix))?.[1] ?? 'server';

/** An endpoint with everything that is prepared once, when the server starts. */
export interface Operation {
  readonly endpoint: Endpoint;
  /** As `operationName` says. */
  readonly name: string;
  readonly validateQuery: ((texts: Texts) => Record<string, unknown>) | undefined;
  /** Turns the body into what the handler is given. */
  readonly checkBody: (body: unknown) => unknown;
  /** Names of its query parameters. */
  readonly queryNames: ReadonlySet<string>;
  readonly validateParams: (names: readonly string[], values: readonly string[]) => Record<string, unknown>;
}

const decode = (name: string, value: string): string => {
  let decoded: string;
  try {
    decoded = decodeURIComponent(value);
  } catch {
    throw new MatrixError('M_INVALID_PARAM', `The path parameter ${name} is not valid percent-encoded UTF-8.`);
  }
  // Schemas refuse it too, but an endpoint may declare none for its path.
  if (decoded.includes('\0'))
    throw new MatrixError('M_INVALID_PARAM', `The path parameter ${name} must not hold a NUL character.`);
  return decoded;
};

const paramsValidator = (
  schema: TObject | undefined,
  implied: Readonly<Record<string, string>>,
): Operation['validateParams'] => {
  const validate = schema === undefined ? undefined : textValidator(schema, 'path');
  return (names, values) => {
    const texts: Record<string, string> = { ...implied };
    for (const [index, name] of names.entries()) texts[name] = decode(name, values[index] as string);
    return validate === undefined ? texts : validate(texts);
  };
};

const bodyCheck = ({ body }: Endpoint): Operation['checkBody'] => {
  if (body === undefined || body instanceof RawBody || body instanceof StreamBody) return (value) => value;
  if (body instanceof FormBody) {
    const validate = textValidator(body.schema, 'form');
    return (value) => validate(value as Texts);
  }
  const validate = bodyValidator(body);
  return (value) => {
    validate(value);
    return value;
  };
};

/** `<api>.<operationId>`: what metrics and log lines call an endpoint. */
export const operationName = (endpoint: Endpoint): string => `${apiOf(endpoint)}.${endpoint.operationId}`;

const operationOf = (endpoint: Endpoint): Operation => {
  // A path that ends in the state key is served without one too: the state key is empty then.
  const implied: Record<string, string> = endpoint.path.endsWith(STATE_KEY) ? { stateKey: '' } : {};
  return {
    endpoint,
    name: operationName(endpoint),
    validateQuery: endpoint.query === undefined ? undefined : textValidator(endpoint.query, 'query'),
    checkBody: bodyCheck(endpoint),
    queryNames: new Set(Object.keys(endpoint.query?.properties ?? {})),
    validateParams: paramsValidator(endpoint.params, implied),
  };
};

const STATE_KEY = '/state/{eventType}/{stateKey}';
const V3 = '/_matrix/client/v3/';

/** Every path under which an endpoint is served: its own, its aliases, r0 for v3, and state without a state key. */
export const pathsOf = (endpoint: Endpoint): readonly string[] => {
  const declared = [endpoint.path, ...(endpoint.aliases ?? [])];
  const paths = declared.flatMap((path) =>
    path.startsWith(V3) ? [path, `/_matrix/client/r0/${path.slice(V3.length)}`] : [path],
  );
  const withoutKey = paths
    .filter((path) => path.endsWith(STATE_KEY))
    .map((path) => path.slice(0, -'{stateKey}'.length))
    .flatMap((path) => [path, path.slice(0, -1)]);
  return [...new Set([...paths, ...withoutKey])];
};

/**
 * Builds the routes.
 *
 * @throws Error when two endpoints claim the same method and path
 */
export const routerOf = (endpoints: readonly Endpoint[]): Router<Operation> => {
  const router = new Router<Operation>();
  for (const endpoint of endpoints) {
    const operation = operationOf(endpoint);
    for (const path of pathsOf(endpoint)) router.add(endpoint.method, path, operation);
  }
  return router;
};
