import Type, { type TSchema } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { CLOSE_REASONS } from './close-codes.ts';
import { DEFAULT_WEBSOCKET_LIMITS } from './dependencies.ts';
import { isAllowed } from '#src/services/accounts/admission/access-rules.ts';
import { plainSchema } from '#src/kernel/schemas/plain-schema.ts';
import type { Method } from './method.ts';
import { METHODS } from './methods.ts';
import { AuthParams, streamQuerySchema } from './stream-params.ts';
import { SUBPROTOCOL, WEBSOCKET_PATH } from './web-socket-api.ts';

type Json = Record<string, unknown>;

const AUTH = 'auth';
/** Where every message is listed, for operations to refer to. */
const CHANNEL = '#/channels/stream';
/** Errcodes with which every request may be answered, beside those that its method declares. */
const IMPLIED_ERRORS = ['M_BAD_JSON', 'M_INVALID_PARAM', 'M_MISSING_PARAM', 'M_UNKNOWN'];

const reference = (to: string): Json => ({ $ref: to });
const schemaRef = (name: string): Json => reference(`#/components/schemas/${name}`);
const messageRef = (name: string): Json => reference(`${CHANNEL}/messages/${name}`);
const resultOf = (name: string): string => `${name}Result`;

/** The documentation of a method's request, and what it is about. */
interface Described {
  readonly name: string;
  readonly summary: string;
  readonly params: TSchema;
  readonly result: TSchema;
  readonly errors: readonly string[];
  readonly example: JsonObject;
  readonly idRequired: boolean;
  readonly more: Json;
}

const AUTH_DESCRIBED: Described = {
  name: AUTH,
  summary:
    'Says who the client is, in the first frame, and from where the stream continues. Later: renews the access token.',
  params: AuthParams,
  result: Type.Object({
    user_id: Type.String(),
    device_id: Type.Optional(Type.String()),
    heartbeat_ms: Type.Integer(),
  }),
  errors: ['M_UNKNOWN_TOKEN', 'M_USER_LOCKED', 'M_FORBIDDEN', 'M_INVALID_PARAM', 'M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
  example: { token: 'eyJhbGciOi…', since: 's1_AAEC_run.0', filter: { room: { timeline: { limit: 20 } } } },
  idRequired: false,
  more: { 'x-rate-limit': 'sync' },
};

const describe = (method: Method): Described => {
  const errors: string[] = [...method.errors];
  if (!isAllowed(method.guests)) errors.push('M_GUEST_ACCESS_FORBIDDEN');
  if (!isAllowed(method.suspended)) errors.push('M_USER_SUSPENDED');
  if (method.rateLimit !== 'none') errors.push('M_LIMIT_EXCEEDED');
  return {
    name: method.name,
    summary: method.summary,
    params: method.params,
    result: method.result,
    errors,
    example: method.example,
    idRequired: true,
    more: {
      'x-rate-limit': method.rateLimit,
      'x-guests': isAllowed(method.guests),
      'x-suspended': isAllowed(method.suspended),
      ...(method.sameAs === undefined ? {} : { 'x-same-as': method.sameAs }),
    },
  };
};

const requestMessage = ({ name, summary, params, example, idRequired }: Described): Json => ({
  name,
  summary,
  payload: {
    type: 'object',
    required: idRequired ? ['id', 'method'] : ['method'],
    properties: { id: schemaRef('Id'), method: { const: name }, params: plainSchema(params) },
  },
  examples: [{ payload: { id: 1, method: name, params: example } }],
});

const resultMessage = ({ name, result }: Described): Json => ({
  name: resultOf(name),
  summary: `The answer to ${name}.`,
  payload: {
    type: 'object',
    required: ['id', 'result'],
    properties: { id: schemaRef('Id'), result: plainSchema(result) },
  },
});

const operation = ({ name, summary, errors, more }: Described): Json => ({
  action: 'receive',
  channel: reference(CHANNEL),
  summary,
  messages: [messageRef(name)],
  reply: { channel: reference(CHANNEL), messages: [messageRef(resultOf(name)), messageRef('error')] },
  'x-errors': [...new Set([...errors, ...IMPLIED_ERRORS])].toSorted(),
  ...more,
});

const SYNC_MESSAGE: Json = {
  name: 'sync',
  summary: 'What happened since the frame before: exactly the body of GET /_matrix/client/v3/sync.',
  payload: {
    type: 'object',
    required: ['next_batch'],
    properties: {
      next_batch: { type: 'string', description: 'The since with which a new connection continues after this frame.' },
      rooms: { type: 'object' },
      account_data: { type: 'object' },
      presence: { type: 'object' },
    },
    externalDocs: { url: 'https://spec.matrix.org/latest/client-server-api/#get_matrixclientv3sync' },
  },
  examples: [{ payload: { next_batch: 's1_AAEC_run.0' } }],
};

const ERROR_MESSAGE: Json = {
  name: 'error',
  summary: 'A request failed. The error is the body that HTTP would have answered with.',
  payload: {
    type: 'object',
    required: ['error'],
    properties: { id: schemaRef('Id'), error: schemaRef('Error') },
  },
  examples: [
    { payload: { id: 1, error: { errcode: 'M_FORBIDDEN', error: 'You are not in this room, or it does not exist.' } } },
  ],
};

const document = (): Json => {
  const described = [AUTH_DESCRIBED, ...Array.from(METHODS.values(), describe)].toSorted((a, b) =>
    a.name < b.name ? -1 : 1,
  );
  const messages = Object.fromEntries([
    ...described.flatMap((one) => [
      [one.name, requestMessage(one)],
      [resultOf(one.name), resultMessage(one)],
    ]),
    ['error', ERROR_MESSAGE],
    ['sync', SYNC_MESSAGE],
  ]) as Record<string, Json>;
  const names = Object.keys(messages);
  const { maxFrameBytes, maxInFlight, heartbeatMs, authTimeoutMs } = DEFAULT_WEBSOCKET_LIMITS;
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Tsudoi: WebSocket API',
      version: '1',
      description:
        'What /sync tells, pushed as it happens, and requests over the same socket. docs/websocket.md explains it.',
      license: { name: 'AGPL-3.0-or-later' },
    },
    defaultContentType: 'application/json',
    channels: {
      stream: {
        address: WEBSOCKET_PATH,
        description: `One WebSocket per device, with the subprotocol ${SUBPROTOCOL}. Every frame is a JSON object in a text frame.`,
        messages: Object.fromEntries(names.map((name) => [name, reference(`#/components/messages/${name}`)])),
        bindings: {
          ws: {
            method: 'GET',
            query: plainSchema(streamQuerySchema),
            headers: {
              type: 'object',
              properties: {
                Authorization: {
                  type: 'string',
                  description: 'Bearer <access token>, instead of auth in the first frame.',
                },
                'Sec-WebSocket-Protocol': { type: 'string', const: SUBPROTOCOL },
              },
            },
            bindingVersion: '0.1.0',
          },
        },
      },
    },
    operations: {
      ...Object.fromEntries(described.map((one) => [one.name, operation(one)])),
      sync: {
        action: 'send',
        channel: reference(CHANNEL),
        summary: 'Pushes what happened.',
        messages: [messageRef('sync')],
      },
    },
    components: {
      messages,
      schemas: {
        Id: {
          description: 'Chosen by the client, and given back with the answer.',
          oneOf: [{ type: 'string', maxLength: 255 }, { type: 'integer' }],
        },
        Error: {
          type: 'object',
          required: ['errcode', 'error'],
          properties: {
            errcode: { type: 'string' },
            error: { type: 'string' },
            retry_after_ms: { type: 'integer' },
            soft_logout: { type: 'boolean' },
          },
        },
      },
    },
    'x-limits': { maxFrameBytes, maxInFlight, heartbeatMs, authTimeoutMs },
    'x-close-codes': Object.values(CLOSE_REASONS),
  };
};

/** The AsyncAPI 3.0 document of the WebSocket API (`spec/websocket.asyncapi.json`): the same bytes for the same declarations. */
export const asyncApiDocument = (): string => `${JSON.stringify(document(), null, 2)}\n`;
