import { Type } from 'typebox';
import { endpoint } from '../endpoint.ts';

interface Services {
  readonly softwareVersion: string;
}

/** The release of Synapse with whose admin API this is compatible. Tools compare it with the first release that has what they call. */
const COMPATIBLE_WITH = '1.163.0';

export const serverVersionEndpoints = [
  endpoint({
    operationId: 'adminGetServerVersion',
    summary: 'The version that administration tools compare with what they need.',
    method: 'GET',
    path: '/_synapse/admin/v1/server_version',
    auth: 'none',
    rateLimit: 'default',
    response: Type.Object({ server_version: Type.String() }),
    errcodes: ['M_LIMIT_EXCEEDED'],
    handler: async ({ softwareVersion }: Services) => ({
      server_version: `${COMPATIBLE_WITH} (Tsudoi ${softwareVersion})`,
    }),
  }),
];
