import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { type Endpoint, endpoint, Reply } from '../endpoint.ts';

export interface WellKnownServerServices {
  /** `host:port` at which other servers reach this one; undefined while it does not federate. */
  readonly federationAddress: () => string | undefined;
}

/** Server-Server API, "Server discovery". */
export const wellKnownServerEndpoints = (services: WellKnownServerServices): Endpoint[] => [
  endpoint({
    operationId: 'getWellKnown',
    summary: 'Where other servers find this server.',
    method: 'GET',
    path: '/.well-known/matrix/server',
    auth: 'none',
    rateLimit: 'none',
    response: Type.Object({ 'm.server': Type.String() }),
    errors: ['M_NOT_FOUND'],
    handle: async () => {
      const address = services.federationAddress();
      if (address === undefined) throw new MatrixError('M_NOT_FOUND', 'This server does not federate.');
      return new Reply({ body: { 'm.server': address }, headers: { 'Cache-Control': 'public, max-age=3600' } });
    },
  }),
];
