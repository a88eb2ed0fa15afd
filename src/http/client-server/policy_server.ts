import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { endpoint, Reply } from '../endpoint.ts';

interface Services {
  /** The keys of the policy server that goes by this server's name; undefined when there is none. */
  readonly wellKnownPolicyServer: () => Readonly<Record<string, unknown>> | undefined;
}

/** Client-Server API, "Policy Servers": the public key with which their signatures are checked. */
export const policyServerEndpoints = [
  endpoint({
    operationId: 'getWellknownPolicy',
    summary: "Gets information about a Policy Server's configuration, if available.",
    method: 'GET',
    path: '/.well-known/matrix/policy_server',
    auth: 'none',
    rateLimit: 'none',
    response: Type.Object(
      { public_keys: Type.Object({ ed25519: Type.String() }, { additionalProperties: Type.String() }) },
      { additionalProperties: true },
    ),
    errcodes: ['M_NOT_FOUND'],
    handler: async ({ wellKnownPolicyServer }: Services) => {
      const body = wellKnownPolicyServer();
      if (body === undefined) throw new MatrixError('M_NOT_FOUND', 'There is no policy server with this name.');
      return new Reply({ body, headers: { 'Cache-Control': 'public, max-age=3600' } });
    },
  }),
];
