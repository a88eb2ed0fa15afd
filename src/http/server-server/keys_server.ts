import type { OwnKeys } from '#src/services/servers/keys/own-keys.ts';
import { endpoint, Reply } from '../endpoint.ts';
import { serverKeys } from './parts/server-keys.ts';

interface Services {
  readonly ownKeys: OwnKeys;
}

/** Server-Server API, "Publishing Keys". Also served while this server does not federate: what it signed before can still be verified. */
export const keysServerEndpoints = [
  endpoint({
    operationId: 'getServerKey',
    summary: "Get the homeserver's public keys.",
    method: 'GET',
    path: '/_matrix/key/v2/server',
    // Older servers ask for one of the keys, and are answered with all.
    aliases: ['/_matrix/key/v2/server/', '/_matrix/key/v2/server/{keyId}'],
    auth: 'none',
    rateLimit: 'federation',
    response: serverKeys,
    errcodes: [],
    handler: async ({ ownKeys }: Services) => new Reply({ json: ownKeys.published() }),
  }),
];
