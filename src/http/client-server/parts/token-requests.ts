import { Type, type Static } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { TokenRequest } from '#src/services/accounts/validation/address-validation.ts';
import type { RequestInfo } from '../../endpoint.ts';

const MAX_NUMBER = Number.MAX_SAFE_INTEGER;
const common = {
  client_secret: Type.String(),
  send_attempt: Type.Integer({ minimum: -MAX_NUMBER, maximum: MAX_NUMBER }),
  next_link: Type.Optional(Type.String()),
  id_server: Type.Optional(Type.String({ description: 'Ignored: this server validates addresses itself.' })),
  id_access_token: Type.Optional(Type.String()),
};

/** Body of `POST .../email/requestToken`. */
export const emailTokenBody = Type.Object({ email: Type.String(), ...common });

/** Body of `POST .../msisdn/requestToken`. */
export const msisdnTokenBody = Type.Object({ country: Type.String(), phone_number: Type.String(), ...common });

/**
 * Answer of both. There is no `submit_url`: "If this field is not present, the client can assume that verification will happen without the
 * client's involvement".
 */
export const tokenResponse = Type.Object({ sid: Type.String() });

/** A body as the service takes it. */
export const tokenRequest = (
  body: Static<typeof emailTokenBody>,
  { acceptLanguage, ip }: RequestInfo,
  userId?: string,
): TokenRequest => ({
  email: body.email,
  clientSecret: body.client_secret,
  sendAttempt: body.send_attempt,
  nextLink: body.next_link,
  acceptLanguage,
  ip,
  userId,
});

/** Telephone numbers cannot be validated here. */
export const refuseMsisdn = (): Promise<never> =>
  Promise.reject(new MatrixError('M_THREEPID_MEDIUM_NOT_SUPPORTED', 'This server sends nothing to telephone numbers.'));
