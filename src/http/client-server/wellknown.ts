import { Type } from 'typebox';
import { type Endpoint, endpoint, Reply } from '../endpoint.ts';

export interface WellKnownClientServices {
  /** The address that clients are to use, without a slash at the end. */
  readonly publicBaseUrl: () => string;
}

/** Client-Server API, "Well-known URIs": how a client that knows only the server name finds the server. */
export const wellKnownClientEndpoints = (services: WellKnownClientServices): Endpoint[] => [
  endpoint({
    operationId: 'getWellknown',
    summary: 'Where clients find this server.',
    method: 'GET',
    path: '/.well-known/matrix/client',
    auth: 'none',
    rateLimit: 'none',
    response: Type.Object({ 'm.homeserver': Type.Object({ base_url: Type.String() }) }),
    errors: [],
    handle: async () =>
      new Reply({
        body: { 'm.homeserver': { base_url: services.publicBaseUrl() } },
        headers: { 'Cache-Control': 'public, max-age=3600' },
      }),
  }),
];
