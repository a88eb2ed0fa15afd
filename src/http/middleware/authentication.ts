import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { EndpointAuth } from '../endpoint.ts';
import type { Texts } from './validation.ts';

const BEARER = /^Bearer +(\S+) *$/i;

/** The token of a request: the Authorization header, or the deprecated query parameter. */
const tokenOf = (authorization: string | undefined, query: () => Texts): string | undefined => {
  const bearer = authorization === undefined ? undefined : BEARER.exec(authorization)?.[1];
  if (bearer !== undefined) return bearer;
  const parameter = query()['access_token'];
  const token = typeof parameter === 'string' ? parameter : parameter?.[0];
  return token === '' ? undefined : token;
};

/** The kinds of authentication that take an access token, or none. */
export const SUPPORTED_AUTH: ReadonlySet<EndpointAuth> = new Set([
  'none',
  'optionalToken',
  'accessToken',
  'accessTokenOrGuest',
  'admin',
]);

/**
 * Says who sends a request, and refuses whom the endpoint does not serve. Client-Server API, "Client Authentication".
 *
 * @throws MatrixError M_MISSING_TOKEN, M_GUEST_ACCESS_FORBIDDEN, M_FORBIDDEN (not an administrator), and what `authenticate` throws
 */
export const identify = async (
  auth: EndpointAuth,
  authorization: string | undefined,
  query: () => Texts,
  authenticate: (token: string, allow?: 'locked') => Promise<Requester>,
  allowLocked = false,
): Promise<Requester | undefined> => {
  if (auth === 'none') return undefined;
  const token = tokenOf(authorization, query);
  if (token === undefined) {
    if (auth === 'optionalToken') return undefined;
    throw new MatrixError('M_MISSING_TOKEN', 'This request needs an access token, as Authorization: Bearer <token>.');
  }
  const requester = await (allowLocked ? authenticate(token, 'locked') : authenticate(token));
  if (auth === 'accessToken' && requester.isGuest) {
    throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests cannot do this: register an account first.');
  }
  if (auth === 'admin' && !requester.isAdmin) {
    throw new MatrixError('M_FORBIDDEN', 'Only administrators of this server can do this.');
  }
  return requester;
};
