import { Type } from 'typebox';
import { ACCOUNT_MANAGEMENT, KEEPS_OWN, READS } from '#src/services/accounts/admission/access-rules.ts';
import type { AccountThreepids } from '#src/services/accounts/threepids/account-threepids.ts';
import type { AddressValidation } from '#src/services/accounts/validation/address-validation.ts';
import type { OwnAddresses } from '#src/services/accounts/contact/own-addresses.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { asAuth, authData, challenge, empty } from './parts/auth-schemas.ts';
import { emailTokenBody, msisdnTokenBody, refuseMsisdn, tokenRequest, tokenResponse } from './parts/token-requests.ts';

const PATH = '/_matrix/client/v3/account/3pid';

const threepid = Type.Object({
  medium: Type.String(),
  address: Type.String(),
  validated_at: Type.Integer(),
  added_at: Type.Integer(),
});
const bindBody = Type.Object({
  client_secret: Type.String(),
  id_server: Type.String(),
  id_access_token: Type.String(),
  sid: Type.String(),
});
const removal = Type.Object({
  id_server: Type.Optional(Type.String()),
  medium: Type.String(),
  address: Type.String(),
});
const unbound = Type.Object({ id_server_unbind_result: Type.String() });
/** The endpoints that ask for mails need no account. */
const WITHOUT_ACCOUNT = { allowed: 'it needs no account' };
const BY_IDENTITY_SERVER = [
  'M_SERVER_NOT_TRUSTED',
  'M_TOO_LARGE',
  'M_TERMS_NOT_SIGNED',
  'M_FORBIDDEN',
  'M_CONNECTION_FAILED',
  'M_CONNECTION_TIMEOUT',
  'M_LIMIT_EXCEEDED',
] as const;

interface Services {
  readonly accountThreepids: AccountThreepids;
  readonly ownAddresses: OwnAddresses;
  readonly addressValidation: AddressValidation;
}

export const administrativeContactEndpoints = [
  endpoint({
    operationId: 'getAccount3PIDs',
    summary: "Gets a list of a user's third-party identifiers.",
    method: 'GET',
    path: PATH,
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    response: Type.Object({ threepids: Type.Array(threepid) }),
    errcodes: ['M_LIMIT_EXCEEDED'],
    async handler({ accountThreepids }: Pick<Services, 'accountThreepids'>, { requester }) {
      const found = await accountThreepids.list(requester.userId);
      return {
        threepids: found.map(({ medium, address, validatedTs, addedTs }) => ({
          medium,
          address,
          validated_at: validatedTs,
          added_at: addedTs,
        })),
      };
    },
  }),
  endpoint({
    operationId: 'post3PIDs',
    summary: "Adds contact information to the user's account: the older form of bind3PID.",
    method: 'POST',
    path: PATH,
    auth: 'accessToken',
    guests: 'refused',
    suspended: 'allowed',
    appservices: ACCOUNT_MANAGEMENT,
    rateLimit: 'default',
    body: Type.Object({ three_pid_creds: bindBody }),
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    errcodes: BY_IDENTITY_SERVER,
    async handler({ ownAddresses }: Pick<Services, 'ownAddresses'>, { requester, body: { three_pid_creds: given } }) {
      const access = { server: given.id_server, accessToken: given.id_access_token };
      await ownAddresses.bind(requester, access, { sid: given.sid, clientSecret: given.client_secret });
      return {};
    },
  }),
  endpoint({
    operationId: 'add3PID',
    summary: "Adds contact information to the user's account.",
    method: 'POST',
    path: `${PATH}/add`,
    auth: 'accessToken',
    guests: 'refused',
    suspended: 'allowed',
    appservices: ACCOUNT_MANAGEMENT,
    rateLimit: 'default',
    memberEvents: ['invite'],
    body: Type.Object({ auth: Type.Optional(authData), client_secret: Type.String(), sid: Type.String() }),
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    errcodes: ['M_THREEPID_AUTH_FAILED', 'M_THREEPID_IN_USE', 'M_TOO_LARGE', 'M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    answers: challenge,
    async handler({ ownAddresses }: Pick<Services, 'ownAddresses'>, { requester, body, info }) {
      const credentials = { sid: body.sid, clientSecret: body.client_secret };
      await ownAddresses.add(requester, credentials, { auth: asAuth(body.auth), ip: info.ip });
      return {};
    },
  }),
  endpoint({
    operationId: 'bind3PID',
    summary: "Binds a 3PID to the user's account through an Identity Service.",
    method: 'POST',
    path: `${PATH}/bind`,
    auth: 'accessToken',
    guests: 'refused',
    suspended: KEEPS_OWN,
    appservices: ACCOUNT_MANAGEMENT,
    rateLimit: 'default',
    body: bindBody,
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    errcodes: BY_IDENTITY_SERVER,
    async handler({ ownAddresses }: Pick<Services, 'ownAddresses'>, { requester, body }) {
      const access = { server: body.id_server, accessToken: body.id_access_token };
      await ownAddresses.bind(requester, access, { sid: body.sid, clientSecret: body.client_secret });
      return {};
    },
  }),
  endpoint({
    operationId: 'delete3pidFromAccount',
    summary: "Deletes a third-party identifier from the user's account",
    method: 'POST',
    path: `${PATH}/delete`,
    auth: 'accessToken',
    guests: 'refused',
    suspended: 'refused',
    appservices: ACCOUNT_MANAGEMENT,
    rateLimit: 'default',
    body: removal,
    maxBodyBytes: BODY_BYTES.small,
    response: unbound,
    errcodes: ['M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    handler: async (
      { ownAddresses }: Pick<Services, 'ownAddresses'>,
      { requester, body: { address, id_server: server, medium } },
    ) => ({ id_server_unbind_result: await ownAddresses.remove(requester, medium, address, server) }),
  }),
  endpoint({
    operationId: 'unbind3pidFromAccount',
    summary: "Removes a user's third-party identifier from an identity server.",
    method: 'POST',
    path: `${PATH}/unbind`,
    auth: 'accessToken',
    guests: 'refused',
    suspended: KEEPS_OWN,
    appservices: ACCOUNT_MANAGEMENT,
    rateLimit: 'default',
    body: removal,
    maxBodyBytes: BODY_BYTES.small,
    response: unbound,
    errcodes: ['M_INVALID_PARAM', ...BY_IDENTITY_SERVER],
    handler: async (
      { ownAddresses }: Pick<Services, 'ownAddresses'>,
      { requester, body: { address, id_server: server, medium } },
    ) => ({ id_server_unbind_result: await ownAddresses.unbind(requester, medium, address, server) }),
  }),
  endpoint({
    operationId: 'requestTokenTo3PIDEmail',
    summary: "Begins the validation process for an email address for association with the user's account.",
    method: 'POST',
    path: `${PATH}/email/requestToken`,
    auth: 'optionalToken',
    guests: WITHOUT_ACCOUNT,
    suspended: WITHOUT_ACCOUNT,
    appservices: ACCOUNT_MANAGEMENT,
    rateLimit: 'default',
    body: emailTokenBody,
    maxBodyBytes: BODY_BYTES.small,
    response: tokenResponse,
    errcodes: [
      'M_INVALID_PARAM',
      'M_THREEPID_IN_USE',
      'M_THREEPID_DENIED',
      'M_THREEPID_MEDIUM_NOT_SUPPORTED',
      'M_LIMIT_EXCEEDED',
    ],
    handler: async ({ addressValidation }: Pick<Services, 'addressValidation'>, { body, info, requester }) => ({
      sid: await addressValidation.request('add', tokenRequest(body, info, requester?.userId)),
    }),
  }),
  endpoint({
    operationId: 'requestTokenTo3PIDMSISDN',
    summary: "Begins the validation process for a phone number for association with the user's account.",
    method: 'POST',
    path: `${PATH}/msisdn/requestToken`,
    auth: 'optionalToken',
    guests: WITHOUT_ACCOUNT,
    suspended: WITHOUT_ACCOUNT,
    appservices: ACCOUNT_MANAGEMENT,
    rateLimit: 'default',
    body: msisdnTokenBody,
    maxBodyBytes: BODY_BYTES.small,
    response: tokenResponse,
    errcodes: ['M_THREEPID_MEDIUM_NOT_SUPPORTED', 'M_LIMIT_EXCEEDED'],
    handler: refuseMsisdn,
  }),
];
