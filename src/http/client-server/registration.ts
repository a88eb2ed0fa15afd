import { type Static, Type } from 'typebox';
import type { InteractiveRegistration } from '#src/services/accounts/registration/interactive-registration.ts';
import type { RegistrationService } from '#src/services/accounts/registration/registration-service.ts';
import type { AppserviceTokens } from '#src/services/accounts/sessions/appservice-tokens.ts';
import type { AddressValidation } from '#src/services/accounts/validation/address-validation.ts';
import { endpoint } from '../endpoint.ts';
import { asAuth, authData, challenge, registrationBody } from './parts/auth-schemas.ts';
import { emailTokenBody, msisdnTokenBody, refuseMsisdn, tokenRequest, tokenResponse } from './parts/token-requests.ts';

const loggedIn = Type.Object({
  user_id: Type.String(),
  home_server: Type.Optional(Type.String()),
  access_token: Type.Optional(Type.String()),
  device_id: Type.Optional(Type.String()),
  refresh_token: Type.Optional(Type.String()),
  expires_in_ms: Type.Optional(Type.Integer()),
});

const registerBody = Type.Object({
  type: Type.Optional(Type.String({ description: 'What application services say of themselves.' })),
  auth: Type.Optional(authData),
  username: Type.Optional(Type.String()),
  password: Type.Optional(Type.String()),
  device_id: Type.Optional(Type.String()),
  initial_device_display_name: Type.Optional(Type.String()),
  inhibit_login: Type.Optional(Type.Boolean()),
  refresh_token: Type.Optional(Type.Boolean()),
  guest_access_token: Type.Optional(Type.String()),
});
type RegisterBody = Static<typeof registerBody>;

const loginParamsOf = (body: RegisterBody) => ({
  deviceId: body.device_id,
  displayName: body.initial_device_display_name,
  inhibitLogin: body.inhibit_login,
  refreshable: body.refresh_token,
});

const accountOf = (body: RegisterBody) => ({
  username: body.username,
  password: body.password,
  guestAccessToken: body.guest_access_token,
  auth: asAuth(body.auth),
});

interface Services {
  readonly registration: RegistrationService;
  readonly interactiveRegistration: InteractiveRegistration;
  readonly appserviceTokens: AppserviceTokens;
  readonly addressValidation: AddressValidation;
}

export const registrationEndpoints = [
  endpoint({
    operationId: 'register',
    summary: 'Register for an account on this homeserver.',
    method: 'POST',
    path: '/_matrix/client/v3/register',
    auth: 'none',
    rateLimit: 'registration',
    memberEvents: ['invite'],
    query: Type.Object({ kind: Type.Optional(Type.Union([Type.Literal('user'), Type.Literal('guest')])) }),
    body: registerBody,
    bodyOptional: true,
    response: loggedIn,
    errcodes: [
      'M_USER_IN_USE',
      'M_INVALID_USERNAME',
      'M_EXCLUSIVE',
      'M_FORBIDDEN',
      'M_WEAK_PASSWORD',
      'M_THREEPID_IN_USE',
      'M_THREEPID_AUTH_FAILED',
      'M_LIMIT_EXCEEDED',
    ],
    answers: challenge,
    async handler(
      { appserviceTokens, interactiveRegistration, registration }: Omit<Services, 'addressValidation'>,
      { query, body, info },
    ) {
      if (query.kind === 'guest') {
        const { initial_device_display_name: displayName } = body;
        return registrationBody(await registration.registerGuest(displayName, info.ip, info.userAgent));
      }
      const login = loginParamsOf(body);
      if (body.type === 'm.login.application_service') {
        const service = await appserviceTokens.serviceOf(info.accessToken);
        return registrationBody(await registration.registerByAppservice(service, body.username, login));
      }
      const wanted = { ...login, ...accountOf(body), ip: info.ip, userAgent: info.userAgent };
      return registrationBody(await interactiveRegistration.register(wanted));
    },
  }),
  endpoint({
    operationId: 'requestTokenToRegisterEmail',
    summary: 'Begins the validation process for an email to be used during registration.',
    method: 'POST',
    path: '/_matrix/client/v3/register/email/requestToken',
    auth: 'none',
    rateLimit: 'default',
    body: emailTokenBody,
    response: tokenResponse,
    errcodes: [
      'M_INVALID_PARAM',
      'M_FORBIDDEN',
      'M_THREEPID_IN_USE',
      'M_THREEPID_DENIED',
      'M_THREEPID_MEDIUM_NOT_SUPPORTED',
      'M_LIMIT_EXCEEDED',
    ],
    async handler({ addressValidation, interactiveRegistration }: Services, { body, info }) {
      interactiveRegistration.assertOpen();
      return { sid: await addressValidation.request('register', tokenRequest(body, info)) };
    },
  }),
  endpoint({
    operationId: 'requestTokenToRegisterMSISDN',
    summary: 'Requests a validation token be sent to the given phone number for the purpose of registering an account',
    method: 'POST',
    path: '/_matrix/client/v3/register/msisdn/requestToken',
    auth: 'none',
    rateLimit: 'default',
    body: msisdnTokenBody,
    response: tokenResponse,
    errcodes: ['M_THREEPID_MEDIUM_NOT_SUPPORTED', 'M_LIMIT_EXCEEDED'],
    handler: refuseMsisdn,
  }),
  endpoint({
    operationId: 'checkUsernameAvailability',
    summary: 'Checks to see if a username is available on the server.',
    method: 'GET',
    path: '/_matrix/client/v3/register/available',
    auth: 'none',
    rateLimit: 'default',
    query: Type.Object({ username: Type.String() }),
    response: Type.Object({ available: Type.Boolean() }),
    errcodes: ['M_USER_IN_USE', 'M_INVALID_USERNAME', 'M_EXCLUSIVE', 'M_LIMIT_EXCEEDED'],
    async handler({ registration }: Pick<Services, 'registration'>, { query }) {
      await registration.checkAvailable(query.username);
      return { available: true };
    },
  }),
];
