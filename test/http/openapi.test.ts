import { expect } from 'chai';
import { Type } from 'typebox';
import { ENDPOINTS } from '#src/app/endpoints.ts';
import { type Endpoint, endpoint } from '#src/http/endpoint.ts';
import { healthEndpoints } from '#src/http/tsudoi/health.ts';
import { openapiDocuments } from '#src/http/openapi.ts';

interface Operation {
  readonly operationId: string;
  readonly parameters: readonly { readonly name: string; readonly in: string; readonly required: boolean }[];
  readonly requestBody: { readonly required: boolean; readonly content: Record<string, { readonly schema: unknown }> };
  readonly responses: Record<
    string,
    { readonly description: string; readonly content: Record<string, { readonly schema: unknown }> }
  >;
  readonly security?: unknown;
  readonly 'x-aliases'?: readonly string[];
}
interface Document {
  readonly openapi: string;
  readonly paths: Record<string, Record<string, Operation>>;
}

const send: Endpoint = endpoint({
  operationId: 'sendThing',
  summary: 'Sends a thing.',
  method: 'PUT',
  path: '/_matrix/client/v3/send/{id}',
  auth: 'accessToken',
  guests: 'refused',
  suspended: 'refused',
  rateLimit: 'message',
  params: Type.Object({ id: Type.String() }),
  query: Type.Object({ ts: Type.Optional(Type.Integer()), kind: Type.String() }),
  body: Type.Object({ body: Type.String(), note: Type.Optional(Type.String()) }),
  response: Type.Object({ event_id: Type.String() }),
  errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND'],
  handler: async () => ({ event_id: '$x' }),
});

describe('the OpenAPI documents of this server', () => {
  const documents = [...openapiDocuments(ENDPOINTS).values()].map((text) => JSON.parse(text) as Document);
  const operations = new Map(
    documents.flatMap(({ paths }) =>
      Object.values(paths).flatMap((methods) => Object.values(methods).map((one) => [one.operationId, one] as const)),
    ),
  );
  const schemaOf = (operationId: string, status: string): unknown =>
    operations.get(operationId)?.responses[status]?.content['application/json']?.schema;

  it('show the challenge in the 401 of every operation with user-interactive authentication', () => {
    const interactive = ENDPOINTS.filter(({ body }) => {
      const { properties = {} } = (body ?? {}) as { readonly properties?: Record<string, unknown> };
      return 'auth' in properties;
    });
    expect(interactive.map(({ operationId }) => operationId)).to.include.members([
      'register',
      'changePassword',
      'deactivateAccount',
      'deleteDevice',
      'deleteDevices',
      'generateLoginToken',
    ]);
    for (const { operationId } of interactive)
      expect(JSON.stringify(schemaOf(operationId, '401')), operationId)
        .to.contain('"flows"')
        .and.contain('"session"');
  });
  it('show the 409 of delayed events that are over, and of aliases that are taken', () => {
    for (const operationId of [
      'sendDelayedEvent',
      'cancelDelayedEvent',
      'restartDelayedEvent',
      'updateDelayedEvent',
      'setRoomAlias',
    ])
      expect(schemaOf(operationId, '409'), operationId).to.deep.equal({ $ref: '#/components/schemas/Error' });
  });
});

describe('openapiDocuments', () => {
  const documents = openapiDocuments([send, ...healthEndpoints]);
  const document = (name: string): Document => JSON.parse(documents.get(name) ?? '{}') as Document;

  it('writes one document per API', () => {
    expect([...documents.keys()]).to.deep.equal(['client-server.openapi.json', 'server.openapi.json']);
    expect(document('server.openapi.json').paths).to.have.property('/health');
  });
  it('describes parameters, body, answers and errors of an operation', () => {
    const { openapi, paths } = document('client-server.openapi.json');
    expect(openapi).to.equal('3.1.0');
    const operation = paths['/_matrix/client/v3/send/{id}']?.['put'] as Operation;
    expect(operation.operationId).to.equal('sendThing');
    expect(operation.parameters.map(({ name, in: where, required }) => [name, where, required])).to.deep.equal([
      ['id', 'path', true],
      ['ts', 'query', false],
      ['kind', 'query', true],
    ]);
    expect(operation.requestBody.required).to.equal(true);
    expect(operation.requestBody.content['application/json']?.schema).to.deep.equal({
      type: 'object',
      required: ['body'],
      properties: { body: { type: 'string' }, note: { type: 'string' } },
    });
    expect(Object.keys(operation.responses)).to.deep.equal(['200', '400', '401', '403', '404', '413', '429']);
    expect(operation.responses['403']?.description).to.equal('M_FORBIDDEN, M_GUEST_ACCESS_FORBIDDEN, M_USER_SUSPENDED');
    expect(operation.security).to.deep.equal([{ accessToken: [] }]);
    expect(operation['x-aliases']).to.deep.equal(['/_matrix/client/r0/send/{id}']);
  });
  it('is the same, byte for byte, whatever the order of the declarations', () => {
    expect([...openapiDocuments([...healthEndpoints.toReversed(), send])]).to.deep.equal([...documents]);
  });
});
