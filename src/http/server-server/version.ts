import { Type } from 'typebox';
import type { ServerPolicy } from '#src/services/servers/server-policy.ts';
import { endpoint } from '../endpoint.ts';

interface Services {
  readonly softwareVersion: string;
  readonly serverPolicy: ServerPolicy;
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
    errcodes: ['M_FORBIDDEN'],
    async handler({ serverPolicy, softwareVersion }: Services) {
      serverPolicy.assertOpen();
      return { server: { name: 'Tsudoi', version: softwareVersion } };
    },
  }),
];
