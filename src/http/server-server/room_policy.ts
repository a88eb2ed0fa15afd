import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { endpoint } from '../endpoint.ts';

/** Server-Server API, "Policy Servers". */
export const roomPolicyEndpoints = [
  endpoint({
    operationId: 'askPolicyServerToSign',
    summary: 'Asks the Policy Server to sign an event. This server is none.',
    method: 'POST',
    path: '/_matrix/policy/v1/sign',
    auth: 'server',
    rateLimit: 'federation',
    body: Type.Object({}, { additionalProperties: true }),
    response: Type.Object({}),
    errcodes: ['M_UNRECOGNIZED', 'M_LIMIT_EXCEEDED'],
    async handler() {
      throw new MatrixError('M_UNRECOGNIZED', 'This server is not a policy server.');
    },
  }),
];
