import { Type } from 'typebox';
import type { OwnKeys } from '#src/services/servers/keys/own-keys.ts';
import { endpoint, Reply } from '../endpoint.ts';

interface Services {
  readonly ownKeys: OwnKeys;
}

const publishedKey = Type.Object({ key: Type.String() });

/** What a server says of its keys, with signatures. */
export const serverKeys = Type.Object({
  server_name: Type.String(),
  valid_until_ts: Type.Integer(),
  verify_keys: Type.Record(Type.String(), publishedKey),
  old_verify_keys: Type.Optional(
    Type.Record(Type.String(), Type.Object({ expired_ts: Type.Integer(), key: Type.String() })),
  ),
  signatures: Type.Record(Type.String(), Type.Record(Type.String(), Type.String())),
});

/** Server-Server API, "Publishing Keys". Served while this server does not federate too: what it signed before can be verified still. */
export const keysServerEndpoints = [
  endpoint({
    operationId: 'getServerKey',
    summary: "Get the homeserver's public keys.",
    method: 'GET',
    path: '/_matrix/key/v2/server',
    // Older servers ask for one of the keys, and are told of all.
    aliases: ['/_matrix/key/v2/server/', '/_matrix/key/v2/server/{keyId}'],
    auth: 'none',
    rateLimit: 'federation',
    response: serverKeys,
    errcodes: [],
    handler: async ({ ownKeys }: Services) => new Reply({ json: ownKeys.published() }),
  }),
];
