import { Type } from 'typebox';
import type { RegistrationToken, RegistrationTokens } from '#src/services/accounts/registration/registration-tokens.ts';
import { actorOf } from '../actor.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';

const root = '/_synapse/admin/v1/registration_tokens';
const path = `${root}/{token}`;
const params = Type.Object({ token: Type.String() });
const orNull = Type.Union([Type.Integer(), Type.Null()]);
const bounds = { uses_allowed: Type.Optional(orNull), expiry_time: Type.Optional(orNull) };
const shown = Type.Object({
  token: Type.String(),
  uses_allowed: orNull,
  pending: Type.Integer(),
  completed: Type.Integer(),
  expiry_time: orNull,
});

interface Services {
  readonly registrationTokens: RegistrationTokens;
}

const bodyOf = ({ completed, expiryTs, token, usesAllowed }: RegistrationToken) => ({
  token,
  uses_allowed: usesAllowed,
  // A token is used when the account is made: registrations that are under way hold none.
  pending: 0,
  completed,
  expiry_time: expiryTs,
});

/** Synapse Admin API, "Registration Tokens". Times are milliseconds since the epoch; null means unlimited. */
export const registrationTokenAdminEndpoints = [
  endpoint({
    operationId: 'adminListRegistrationTokens',
    summary: 'Lists registration tokens, the oldest first: all, those that are good, or those that are not any more.',
    method: 'GET',
    path: root,
    ...OF_ADMINISTRATORS,
    query: Type.Object({ valid: Type.Optional(Type.Boolean()) }),
    response: Type.Object({ registration_tokens: Type.Array(shown) }),
    errcodes: [],
    handler: async ({ registrationTokens }: Services, { query: { valid } }) => ({
      registration_tokens: (await registrationTokens.list(valid)).map(bodyOf),
    }),
  }),
  endpoint({
    operationId: 'adminCreateRegistrationToken',
    summary: 'Makes a registration token.',
    method: 'POST',
    path: `${root}/new`,
    ...OF_ADMINISTRATORS,
    body: Type.Object({
      token: Type.Optional(Type.String()),
      /** Length of a generated token. */
      length: Type.Optional(Type.Integer()),
      ...bounds,
    }),
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.small,
    response: shown,
    errcodes: ['M_INVALID_PARAM', 'M_RESOURCE_LIMIT_EXCEEDED'],
    handler: async ({ registrationTokens }: Services, { requester, info, body }) =>
      bodyOf(
        await registrationTokens.create(actorOf(requester, info), {
          token: body.token,
          length: body.length,
          usesAllowed: body.uses_allowed,
          expiryTs: body.expiry_time,
        }),
      ),
  }),
  endpoint({
    operationId: 'adminGetRegistrationToken',
    summary: 'One registration token.',
    method: 'GET',
    path,
    ...OF_ADMINISTRATORS,
    params,
    response: shown,
    errcodes: ['M_NOT_FOUND'],
    handler: async ({ registrationTokens }: Services, { params: { token } }) =>
      bodyOf(await registrationTokens.get(token)),
  }),
  endpoint({
    operationId: 'adminChangeRegistrationToken',
    summary: 'Changes how often, or until when, a registration token is good. What is left out stays.',
    method: 'PUT',
    path,
    ...OF_ADMINISTRATORS,
    params,
    body: Type.Object(bounds),
    maxBodyBytes: BODY_BYTES.small,
    response: shown,
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM'],
    handler: async ({ registrationTokens }: Services, { requester, info, params: { token }, body }) =>
      bodyOf(
        await registrationTokens.change(actorOf(requester, info), token, {
          usesAllowed: body.uses_allowed,
          expiryTs: body.expiry_time,
        }),
      ),
  }),
  endpoint({
    operationId: 'adminDeleteRegistrationToken',
    summary: 'Deletes a registration token. Accounts that were made with it stay.',
    method: 'DELETE',
    path,
    ...OF_ADMINISTRATORS,
    params,
    response: Type.Object({}),
    errcodes: ['M_NOT_FOUND'],
    async handler({ registrationTokens }: Services, { requester, info, params: { token } }) {
      await registrationTokens.delete(actorOf(requester, info), token);
      return {};
    },
  }),
];
