import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { endpoint, Reply } from '../endpoint.ts';

interface Services {
  /** `m.server` (where other servers reach this one) and what else is published; undefined while it does not federate. */
  readonly wellKnownServer: () => Readonly<Record<string, unknown>> | undefined;
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
    response: Type.Object({ 'm.server': Type.String() }, { additionalProperties: true }),
    errcodes: ['M_NOT_FOUND'],
    handler: async ({ wellKnownServer }: Services) => {
      const body = wellKnownServer();
      if (body === undefined) throw new MatrixError('M_NOT_FOUND', 'This server does not federate.');
      return new Reply({ body, headers: { 'Cache-Control': 'public, max-age=3600' } });
    },
  }),
];
