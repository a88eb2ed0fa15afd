import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Admission } from '#src/services/accounts/admission/admission.ts';
import type { Asserted, Requester } from '#src/services/accounts/sessions/requester.ts';
import type { WebSocketServices } from './services.ts';
import type { Method } from './method.ts';
import { type StreamParams, type StreamStart, streamStart, validateAuth } from './stream-params.ts';

/** What letting a client in needs. */
export interface AdmissionDesk {
  readonly admission: Admission;
  readonly services: WebSocketServices;
}

/** The client at the other end of a socket. */
export interface Admitted {
  readonly requester: Requester;
  readonly token: string;
}

/** Takes out of the buckets of HTTP: a user has no more of them for using both. @throws MatrixError M_LIMIT_EXCEEDED */
export const takeToken = (admission: Admission, bucket: Method['rateLimit'], requester: Requester): void => {
  if (bucket !== 'none' && requester.rateLimited) admission.take(bucket, requester.userId);
};

/**
 * Authenticates a client by its access token, and resolves the parameters of its stream.
 *
 * @param network for rate limits until the client is authenticated
 * @param asserted the user that an application service acts as
 * @param params how its stream begins
 * @throws MatrixError as authentication, the rate limit and `streamStart` do
 */
export const admit = async (
  { admission, services }: AdmissionDesk,
  network: string,
  token: string,
  asserted: Asserted,
  params: () => StreamParams,
): Promise<Admitted & { readonly start: StreamStart }> => {
  const requester = await admission.identify(network, token, undefined, asserted);
  takeToken(admission, 'sync', requester);
  return { requester, token, start: await streamStart(services, requester.userId, params()) };
};

/** The same device with a fresh token. @throws MatrixError M_FORBIDDEN for another device, and as `admit` does */
export const admitAgain = async (
  { admission }: AdmissionDesk,
  network: string,
  current: Requester,
  params: unknown,
): Promise<Admitted> => {
  validateAuth(params);
  takeToken(admission, 'default', current);
  // An application service need not assert its user again.
  const requester = await admission.identify(network, params.token, undefined, {
    userId: params.user_id ?? current.userId,
    deviceId: params.device_id ?? current.deviceId,
  });
  if (
    requester.userId !== current.userId ||
    requester.deviceId !== current.deviceId ||
    requester.adminLogin?.id !== current.adminLogin?.id
  ) {
    throw new MatrixError('M_FORBIDDEN', 'This socket belongs to another device: open one of its own.');
  }
  return { requester, token: params.token };
};
