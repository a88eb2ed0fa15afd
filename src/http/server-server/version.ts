import { Type } from 'typebox';
import { endpoint } from '../endpoint.ts';

interface Services {
  readonly softwareVersion: string;
}

/** Server-Server API, "Server implementation". */
export const federationVersionEndpoints = [
  endpoint({
    operationId: 'getVersion',
    summary: 'Get the implementation name and version of this homeserver.',
    method: 'GET',
    path: '/_matrix/federation/v1/version',
    auth: 'none',
    rateLimit: 'federation',
    response: Type.Object({ server: Type.Object({ name: Type.String(), version: Type.String() }) }),
    errcodes: [],
    handler: async ({ softwareVersion }: Services) => ({ server: { name: 'Tsudoi', version: softwareVersion } }),
  }),
];
