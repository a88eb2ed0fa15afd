import { Type } from 'typebox';
import { ACCOUNT_MANAGEMENT } from '#src/services/accounts/admission/access-rules.ts';
import type { AccountService } from '#src/services/accounts/sessions/account-service.ts';
import type { AddressValidation } from '#src/services/accounts/validation/address-validation.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { asAuth, authData, challenge, empty } from './parts/auth-schemas.ts';
import { emailTokenBody, msisdnTokenBody, refuseMsisdn, tokenRequest, tokenResponse } from './parts/token-requests.ts';

interface Services {
  readonly accounts: AccountService;
  readonly addressValidation: AddressValidation;
}

export const passwordManagementEndpoints = [
  endpoint({
    operationId: 'changePassword',
    summary: "Changes a user's password.",
    method: 'POST',
    path: '/_matrix/client/v3/account/password',
    auth: 'optionalToken',
    guests: 'refused',
    suspended: { allowed: 'suspended users have to be able to keep others out of the account' },
    appservices: ACCOUNT_MANAGEMENT,
    rateLimit: 'default',
    body: Type.Object({
      new_password: Type.String(),
      logout_devices: Type.Optional(Type.Boolean()),
      auth: Type.Optional(authData),
    }),
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    errcodes: [
      'M_FORBIDDEN',
      'M_WEAK_PASSWORD',
      'M_MISSING_TOKEN',
      'M_NOT_FOUND',
      'M_THREEPID_AUTH_FAILED',
      'M_LIMIT_EXCEEDED',
    ],
    answers: challenge,
    async handler({ accounts }: Pick<Services, 'accounts'>, { body, requester, info }) {
      const change = {
        newPassword: body.new_password,
        logoutDevices: body.logout_devices ?? true,
        auth: asAuth(body.auth),
        ip: info.ip,
      };
      // "The homeserver may change the flows available depending on whether a valid access token is provided."
      await (requester === undefined ? accounts.resetPassword(change) : accounts.changePassword(requester, change));
      return {};
    },
  }),
  endpoint({
    operationId: 'requestTokenToResetPasswordEmail',
    summary:
      "Requests a validation token be sent to the given email address for the purpose of resetting a user's password",
    method: 'POST',
    path: '/_matrix/client/v3/account/password/email/requestToken',
    auth: 'none',
    rateLimit: 'default',
    body: emailTokenBody,
    response: tokenResponse,
    errcodes: [
      'M_INVALID_PARAM',
      'M_THREEPID_NOT_FOUND',
      'M_THREEPID_DENIED',
      'M_THREEPID_MEDIUM_NOT_SUPPORTED',
      'M_LIMIT_EXCEEDED',
    ],
    handler: async ({ addressValidation }: Pick<Services, 'addressValidation'>, { body, info }) => ({
      sid: await addressValidation.request('reset', tokenRequest(body, info)),
    }),
  }),
  endpoint({
    operationId: 'requestTokenToResetPasswordMSISDN',
    summary:
      "Requests a validation token be sent to the given phone number for the purpose of resetting a user's password.",
    method: 'POST',
    path: '/_matrix/client/v3/account/password/msisdn/requestToken',
    auth: 'none',
    rateLimit: 'default',
    body: msisdnTokenBody,
    response: tokenResponse,
    errcodes: ['M_THREEPID_MEDIUM_NOT_SUPPORTED', 'M_LIMIT_EXCEEDED'],
    handler: refuseMsisdn,
  }),
];
