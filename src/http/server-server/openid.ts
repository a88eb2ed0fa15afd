import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { OpenIdTokens } from '#src/services/accounts/openid/openid-tokens.ts';
import { endpoint } from '../endpoint.ts';

interface Services {
  readonly openId: OpenIdTokens;
}

/** Server-Server API, "OpenID": third parties ask which user a token belongs to. They need not be Matrix servers, and do not sign requests. */
export const federationOpenIdEndpoints = [
  endpoint({
    operationId: 'exchangeOpenIdToken',
    summary: 'Exchange an OpenID token for user information.',
    method: 'GET',
    path: '/_matrix/federation/v1/openid/userinfo',
    auth: 'none',
    rateLimit: 'default',
    query: Type.Object({ access_token: Type.Optional(Type.String()) }),
    response: Type.Object({ sub: Type.String() }),
    errcodes: ['M_MISSING_TOKEN', 'M_UNKNOWN_TOKEN', 'M_LIMIT_EXCEEDED'],
    async handler({ openId }: Services, { query: { access_token: token } }) {
      if (token === undefined) throw new MatrixError('M_MISSING_TOKEN', 'The query parameter access_token is missing.');
      const userId = await openId.userOf(token);
      if (userId === undefined) throw new MatrixError('M_UNKNOWN_TOKEN', 'The access token is unknown or has expired.');
      return { sub: userId };
    },
  }),
];
