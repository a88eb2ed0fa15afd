import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { InviteKeys } from '#src/services/rooms/third-party-invites/invite-keys.ts';
import { endpoint } from '../endpoint.ts';

const query = Type.Object({ public_key: Type.String() });
const validity = Type.Object({ valid: Type.Boolean() });

interface Services {
  readonly inviteKeys: InviteKeys;
}

/** The keys for third-party invites that this server stores. Identity Service API, "Key management". */
export const identityKeyEndpoints = [
  endpoint({
    operationId: 'getPubKeyV2',
    summary: 'Get a public key.',
    method: 'GET',
    path: '/_matrix/identity/v2/pubkey/{keyId}',
    auth: 'none',
    rateLimit: 'default',
    params: Type.Object({ keyId: Type.String() }),
    response: Type.Object({ public_key: Type.String() }),
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ inviteKeys }: Services, { params: { keyId } }) {
      const publicKey = inviteKeys.publicKey(keyId);
      if (publicKey === undefined) throw new MatrixError('M_NOT_FOUND', `There is no key ${keyId} on this server.`);
      return { public_key: publicKey };
    },
  }),
  endpoint({
    operationId: 'isPubKeyValidV2',
    summary: 'Check whether a long-term public key is valid.',
    method: 'GET',
    path: '/_matrix/identity/v2/pubkey/isvalid',
    auth: 'none',
    rateLimit: 'default',
    query,
    response: validity,
    errcodes: ['M_MISSING_PARAM', 'M_LIMIT_EXCEEDED'],
    handler: async ({ inviteKeys }: Services, { query: { public_key: publicKey } }) => ({
      valid: inviteKeys.isValid(publicKey),
    }),
  }),
  endpoint({
    operationId: 'isEphemeralPubKeyValidV2',
    summary: 'Check whether a short-term public key is valid.',
    method: 'GET',
    path: '/_matrix/identity/v2/pubkey/ephemeral/isvalid',
    auth: 'none',
    rateLimit: 'default',
    query,
    response: validity,
    errcodes: ['M_MISSING_PARAM', 'M_LIMIT_EXCEEDED'],
    handler: async ({ inviteKeys }: Services, { query: { public_key: publicKey } }) => ({
      valid: await inviteKeys.isEphemeralKeyValid(publicKey),
    }),
  }),
];
