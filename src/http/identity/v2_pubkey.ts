import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { InviteKeys } from '#src/services/rooms/third-party-invites/invite-keys.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';

const query = Type.Object({ public_key: Type.String() });
const validity = Type.Object({ valid: Type.Boolean() });

/** By which keys invitations can be redeemed that this server keeps. Identity Service API, "Key management". */
export const identityKeyEndpoints = (services: { readonly inviteKeys: InviteKeys }): readonly Endpoint[] => [
  endpoint({
    operationId: 'getPubKeyV2',
    summary: 'Get a public key.',
    method: 'GET',
    path: '/_matrix/identity/v2/pubkey/{keyId}',
    auth: 'none',
    rateLimit: 'default',
    params: Type.Object({ keyId: Type.String() }),
    response: Type.Object({ public_key: Type.String() }),
    errors: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handle({ params: { keyId } }) {
      const publicKey = services.inviteKeys.publicKey(keyId);
      if (publicKey === undefined) throw new MatrixError('M_NOT_FOUND', `There is no key ${keyId} here.`);
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
    errors: ['M_MISSING_PARAM', 'M_LIMIT_EXCEEDED'],
    handle: async ({ query: { public_key: publicKey } }) => ({ valid: services.inviteKeys.isValid(publicKey) }),
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
    errors: ['M_MISSING_PARAM', 'M_LIMIT_EXCEEDED'],
    handle: async ({ query: { public_key: publicKey } }) => ({
      valid: await services.inviteKeys.isEphemeralKeyValid(publicKey),
    }),
  }),
];
