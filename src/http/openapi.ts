import { ERRCODE_STATUS, type Errcode } from '#src/protocol/errors/matrix-error.ts';
import type { TObject, TSchema } from 'typebox';
import { isAllowed } from '#src/services/accounts/admission/access-rules.ts';
import { plainSchema } from '#src/kernel/schemas/plain-schema.ts';
import { type Endpoint, FormBody, RawBody, StreamBody } from './endpoint.ts';
import { type Api, apiOf, pathsOf } from './operation.ts';

type Json = Record<string, unknown>;

const TITLES: Readonly<Record<Api, string>> = {
  'client-server': 'Client-Server API',
  'server-server': 'Server-Server API',
  'application-service': 'Application Service API',
  identity: 'Identity Service API',
  'synapse-admin': 'Admin API (compatible with Synapse)',
  'well-known': 'Discovery',
  server: 'The server itself',
};

const parameters = (schema: TObject | undefined, where: 'path' | 'query'): Json[] => {
  if (schema === undefined) return [];
  const required = new Set((schema as { required?: readonly string[] }).required ?? []);
  return Object.entries(schema.properties as Record<string, TSchema>).map(([name, property]) => ({
    name,
    in: where,
    required: where === 'path' || required.has(name),
    schema: plainSchema(property),
  }));
};

/** Errcodes that every operation of its kind may answer with, beside those it declares. */
const impliedErrors = (endpoint: Endpoint): Errcode[] => {
  const errors: Errcode[] = [];
  const { auth, guests, suspended } = endpoint;
  if (auth === 'accessToken' || auth === 'admin' || auth === 'appservice') errors.push('M_MISSING_TOKEN');
  if (auth === 'server') errors.push('M_UNAUTHORIZED');
  else if (auth !== 'none') errors.push('M_UNKNOWN_TOKEN');
  if (guests !== undefined && !isAllowed(guests)) errors.push('M_GUEST_ACCESS_FORBIDDEN');
  if (suspended !== undefined && !isAllowed(suspended)) errors.push('M_USER_SUSPENDED');
  if (auth === 'admin') errors.push('M_FORBIDDEN');
  if (endpoint.rateLimit !== 'none') errors.push('M_LIMIT_EXCEEDED');
  if (endpoint.params !== undefined || endpoint.query !== undefined || endpoint.body !== undefined)
    errors.push('M_INVALID_PARAM');
  if (endpoint.body !== undefined) errors.push('M_NOT_JSON', 'M_BAD_JSON', 'M_TOO_LARGE');
  return errors;
};

const answerSchema = (schema: TSchema | undefined, isErrorToo: boolean): Json => {
  const error = { $ref: '#/components/schemas/Error' };
  if (schema === undefined) return error;
  return isErrorToo ? { anyOf: [plainSchema(schema), error] } : plainSchema(schema);
};

const responses = (endpoint: Endpoint): Json => {
  const byStatus = new Map<number, Set<Errcode>>();
  for (const errcode of [...endpoint.errcodes, ...impliedErrors(endpoint)]) {
    const status = ERRCODE_STATUS[errcode];
    const codes = byStatus.get(status) ?? new Set<Errcode>();
    byStatus.set(status, codes.add(errcode));
  }
  const result: Json = {
    200: {
      description: 'Success',
      content: { [endpoint.responseType ?? 'application/json']: { schema: plainSchema(endpoint.response) } },
    },
  };
  const statuses = new Set([...byStatus.keys(), ...Object.keys(endpoint.answers ?? {}).map(Number)]);
  for (const status of [...statuses].toSorted((a, b) => a - b)) {
    const codes = [...(byStatus.get(status) ?? [])].toSorted().join(', ');
    const answer = endpoint.answers?.[status];
    result[status] = {
      description: [answer?.description, codes].filter((text) => text !== undefined && text !== '').join(' '),
      content: { 'application/json': { schema: answerSchema(answer?.schema, codes !== '') } },
    };
  }
  return result;
};

const bodyContent = (body: NonNullable<Endpoint['body']>): Json => {
  if (body instanceof RawBody || body instanceof StreamBody)
    return { '*/*': { schema: { type: 'string', format: 'binary' } } };
  if (body instanceof FormBody) return { 'application/x-www-form-urlencoded': { schema: plainSchema(body.schema) } };
  return { 'application/json': { schema: plainSchema(body) } };
};

const SECURITY: Readonly<Record<Endpoint['auth'], Json>> = {
  none: {},
  optionalToken: { security: [{}, { accessToken: [] }] },
  accessToken: { security: [{ accessToken: [] }] },
  admin: { security: [{ accessToken: [] }] },
  server: { security: [{ signedRequest: [] }] },
  appservice: { security: [{ appserviceToken: [] }] },
};

const SCHEMES: Json = {
  accessToken: { type: 'http', scheme: 'bearer' },
  appserviceToken: { type: 'http', scheme: 'bearer', description: 'The as_token of an application service.' },
  signedRequest: { type: 'apiKey', in: 'header', name: 'Authorization', description: 'X-Matrix: the request, signed.' },
};

const schemesOf = (endpoints: readonly Endpoint[]): Json => {
  const needed = new Set<string>(
    endpoints.map(({ auth }) =>
      auth === 'server' ? 'signedRequest' : auth === 'appservice' ? 'appserviceToken' : 'accessToken',
    ),
  );
  return Object.fromEntries(Object.entries(SCHEMES).filter(([name]) => needed.has(name)));
};

const operation = (endpoint: Endpoint): Json => {
  const aliases = pathsOf(endpoint).slice(1);
  return {
    operationId: endpoint.operationId,
    summary: endpoint.summary,
    ...SECURITY[endpoint.auth],
    parameters: [...parameters(endpoint.params, 'path'), ...parameters(endpoint.query, 'query')],
    ...(endpoint.body === undefined
      ? {}
      : {
          requestBody: {
            required: endpoint.bodyOptional !== true,
            content: bodyContent(endpoint.body),
          },
        }),
    responses: responses(endpoint),
    'x-authentication': endpoint.auth,
    ...(endpoint.guests === undefined ? {} : { 'x-guests': isAllowed(endpoint.guests) }),
    ...(endpoint.suspended === undefined ? {} : { 'x-suspended': isAllowed(endpoint.suspended) }),
    'x-rate-limit': endpoint.rateLimit,
    ...(aliases.length === 0 ? {} : { 'x-aliases': aliases }),
  };
};

const document = (api: Api, endpoints: readonly Endpoint[]): Json => {
  const paths: Record<string, Json> = {};
  const order = (endpoint: Endpoint): string => `${endpoint.path} ${endpoint.method}`;
  for (const endpoint of endpoints.toSorted((a, b) => (order(a) < order(b) ? -1 : 1))) {
    (paths[endpoint.path] ??= {})[endpoint.method.toLowerCase()] = operation(endpoint);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: `Tsudoi: ${TITLES[api]}`,
      version: '1',
      license: { name: 'AGPL-3.0-or-later', identifier: 'AGPL-3.0-or-later' },
    },
    paths,
    components: {
      securitySchemes: schemesOf(endpoints),
      schemas: {
        Error: {
          type: 'object',
          required: ['errcode', 'error'],
          properties: { errcode: { type: 'string' }, error: { type: 'string' } },
        },
      },
    },
  };
};

/**
 * The OpenAPI 3.1 documents of these endpoints.
 *
 * @returns contents by file name (`client-server.openapi.json`), the same bytes for the same declarations in whatever order they come
 */
export const openapiDocuments = (endpoints: readonly Endpoint[]): ReadonlyMap<string, string> => {
  const groups = new Map<Api, Endpoint[]>();
  for (const endpoint of endpoints) {
    const api = apiOf(endpoint);
    const group = groups.get(api) ?? [];
    group.push(endpoint);
    groups.set(api, group);
  }
  const names = [...groups.keys()].toSorted();
  return new Map(
    names.map((api) => [`${api}.openapi.json`, `${JSON.stringify(document(api, groups.get(api) ?? []), null, 2)}\n`]),
  );
};
