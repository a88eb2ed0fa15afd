import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { WebSocketDependencies } from './dependencies.ts';
import { takeToken } from './rate-limit.ts';
import { type StreamStart, streamParamsOf, streamStart, validateAuth } from './stream-params.ts';

/** Who is at the other end of a socket. */
export interface Admission {
  readonly requester: Requester;
  readonly token: string;
}

/**
 * Lets a client in by the params of its `auth`, and finds out how its stream begins.
 *
 * @param query of the handshake: what the params do not say is taken from it
 * @throws MatrixError as authentication, the rate limit and `streamStart` do; M_MISSING_PARAM, M_BAD_JSON
 */
export const admit = async (
  deps: WebSocketDependencies,
  query: string,
  params: unknown,
): Promise<Admission & { readonly start: StreamStart }> => {
  validateAuth(params);
  const requester = await deps.services.sessions.authenticate(params.token);
  takeToken(deps.rateLimiter, 'sync', requester);
  const start = await streamStart(deps.services, requester.userId, { ...streamParamsOf(query), ...params });
  return { requester, token: params.token, start };
};

/** The same device with a fresh token. @throws MatrixError M_FORBIDDEN for another device, and as `admit` does */
export const admitAgain = async (
  deps: WebSocketDependencies,
  current: Requester,
  params: unknown,
): Promise<Admission> => {
  validateAuth(params);
  takeToken(deps.rateLimiter, 'default', current);
  const requester = await deps.services.sessions.authenticate(params.token);
  if (requester.userId !== current.userId || requester.deviceId !== current.deviceId) {
    throw new MatrixError('M_FORBIDDEN', 'This socket belongs to another device: open one of its own.');
  }
  return { requester, token: params.token };
};
