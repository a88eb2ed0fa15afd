import { Type } from 'typebox';
import { endpoint } from '../endpoint.ts';
import { noAppservice } from './parts/no-appservice.ts';

export const appservicePingEndpoints = [
  endpoint({
    operationId: 'pingAppservice',
    summary: 'Ask the homeserver to ping the application service to ensure the connection works.',
    method: 'POST',
    path: '/_matrix/client/v1/appservice/{appserviceId}/ping',
    auth: 'accessToken',
    guests: 'refused',
    suspended: { refused: 'it is for application services, of which there are none' },
    rateLimit: 'default',
    params: Type.Object({ appserviceId: Type.String() }),
    body: Type.Object({ transaction_id: Type.Optional(Type.String()) }),
    bodyOptional: true,
    response: Type.Object({ duration_ms: Type.Integer() }),
    errcodes: ['M_FORBIDDEN'],
    handler: noAppservice,
  }),
];
