import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { endpoint, Reply } from '../endpoint.ts';

interface Services {
  /** `host:port` at which other servers reach this one; undefined while it does not federate. */
  readonly federationAddress: () => string | undefined;
}

/** Server-Server API, "Server discovery". */
export const wellKnownServerEndpoints = [
  endpoint({
    operationId: 'getWellKnown',
    summary: 'Where other servers find this server.',
    method: 'GET',
    path: '/.well-known/matrix/server',
    auth: 'none',
    rateLimit: 'none',
    response: Type.Object({ 'm.server': Type.String() }),
    errcodes: ['M_NOT_FOUND'],
    handler: async ({ federationAddress }: Services) => {
      const address = federationAddress();
      if (address === undefined) throw new MatrixError('M_NOT_FOUND', 'This server does not federate.');
      return new Reply({ body: { 'm.server': address }, headers: { 'Cache-Control': 'public, max-age=3600' } });
    },
  }),
];
