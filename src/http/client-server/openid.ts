import { Type } from 'typebox';
import type { OpenIdTokens } from '#src/services/accounts/openid/openid-tokens.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { assertOwn } from './parts/own-user.ts';
import { anyObject } from './parts/room-schemas.ts';

interface Services {
  readonly openId: OpenIdTokens;
  readonly serverName: string;
}

export const openidEndpoints = [
  endpoint({
    operationId: 'requestOpenIdToken',
    summary: "Get an OpenID token object to verify the requester's identity.",
    method: 'POST',
    path: '/_matrix/client/v3/user/{userId}/openid/request_token',
    auth: 'accessToken',
    guests: 'refused',
    suspended: { refused: 'it vouches for the user to others' },
    rateLimit: 'default',
    params: Type.Object({ userId: Type.String() }),
    body: anyObject,
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.small,
    response: Type.Object({
      access_token: Type.String(),
      token_type: Type.Literal('Bearer'),
      matrix_server_name: Type.String(),
      expires_in: Type.Integer(),
    }),
    errcodes: ['M_FORBIDDEN', 'M_NOT_JSON', 'M_BAD_JSON', 'M_LIMIT_EXCEEDED'],
    async handler({ openId, serverName }: Services, { requester, params: { userId } }) {
      assertOwn(requester, userId, 'OpenID tokens');
      const { token, expiresIn } = await openId.issue(userId);
      return {
        access_token: token,
        token_type: 'Bearer',
        matrix_server_name: serverName,
        expires_in: expiresIn,
      };
    },
  }),
];
