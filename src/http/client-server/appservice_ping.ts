import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { AppservicePing } from '#src/services/appservices/ping/appservice-ping.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';

interface Services {
  readonly appservicePing: AppservicePing;
}

export const appservicePingEndpoints = [
  endpoint({
    operationId: 'pingAppservice',
    summary: 'Ask the homeserver to ping the application service to ensure the connection works.',
    method: 'POST',
    path: '/_matrix/client/v1/appservice/{appserviceId}/ping',
    auth: 'accessToken',
    guests: 'refused',
    suspended: { allowed: "an application service asks whether it can be reached, in nobody's name" },
    rateLimit: 'default',
    params: Type.Object({ appserviceId: Type.String() }),
    body: Type.Object({ transaction_id: Type.Optional(Type.String()) }),
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.small,
    response: Type.Object({ duration_ms: Type.Integer() }),
    errcodes: ['M_FORBIDDEN', 'M_URL_NOT_SET', 'M_BAD_STATUS', 'M_CONNECTION_FAILED', 'M_CONNECTION_TIMEOUT'],
    async handler({ appservicePing }: Services, { body, params: { appserviceId }, requester: { appservice } }) {
      if (appservice === undefined)
        throw new MatrixError('M_FORBIDDEN', 'This access token does not belong to an application service.');
      return { duration_ms: await appservicePing.ping(appservice.service, appserviceId, body?.transaction_id) };
    },
  }),
];
