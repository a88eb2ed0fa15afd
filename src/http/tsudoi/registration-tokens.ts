import { Type } from 'typebox';
import { ADMINISTERS } from '#src/services/accounts/sessions/access-rules.ts';
import type { RegistrationToken, RegistrationTokens } from '#src/services/accounts/registration/registration-tokens.ts';
import { endpoint } from '../endpoint.ts';

const root = '/_tsudoi/admin/v1/registration_tokens';
const path = `${root}/{token}`;
const params = Type.Object({ token: Type.String() });
const orNull = Type.Union([Type.Integer(), Type.Null()]);
const bounds = { uses_allowed: Type.Optional(orNull), expiry_time: Type.Optional(orNull) };
const shown = Type.Object({
  token: Type.String(),
  uses_allowed: orNull,
  completed: Type.Integer(),
  expiry_time: orNull,
  created_ts: Type.Integer(),
});

interface Services {
  readonly registrationTokens: RegistrationTokens;
}

const bodyOf = ({ completed, createdTs, expiryTs, token, usesAllowed }: RegistrationToken) => ({
  token,
  uses_allowed: usesAllowed,
  completed,
  expiry_time: expiryTs,
  created_ts: createdTs,
});

const access = { auth: 'admin', guests: 'refused', suspended: ADMINISTERS, rateLimit: 'default' } as const;

/** Administrators give out tokens with which people register. Times are milliseconds since the epoch; null is no bound. */
export const registrationTokenAdminEndpoints = [
  endpoint({
    operationId: 'listRegistrationTokens',
    summary: 'All registration tokens, the oldest first.',
    method: 'GET',
    path: root,
    ...access,
    response: Type.Object({ registration_tokens: Type.Array(shown) }),
    errcodes: [],
    handler: async ({ registrationTokens }: Services) => ({
      registration_tokens: (await registrationTokens.list()).map(bodyOf),
    }),
  }),
  endpoint({
    operationId: 'createRegistrationToken',
    summary: 'Makes a registration token.',
    method: 'POST',
    path: root,
    ...access,
    body: Type.Object({ token: Type.Optional(Type.String()), ...bounds }),
    bodyOptional: true,
    response: shown,
    errcodes: ['M_INVALID_PARAM'],
    handler: async ({ registrationTokens }: Services, { body }) =>
      bodyOf(
        await registrationTokens.create({
          token: body.token,
          usesAllowed: body.uses_allowed,
          expiryTs: body.expiry_time,
        }),
      ),
  }),
  endpoint({
    operationId: 'getRegistrationToken',
    summary: 'One registration token.',
    method: 'GET',
    path,
    ...access,
    params,
    response: shown,
    errcodes: ['M_NOT_FOUND'],
    handler: async ({ registrationTokens }: Services, { params: { token } }) =>
      bodyOf(await registrationTokens.get(token)),
  }),
  endpoint({
    operationId: 'changeRegistrationToken',
    summary: 'Changes how often, or until when, a registration token is good. What is left out stays.',
    method: 'PUT',
    path,
    ...access,
    params,
    body: Type.Object(bounds),
    response: shown,
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM'],
    handler: async ({ registrationTokens }: Services, { params: { token }, body }) =>
      bodyOf(await registrationTokens.change(token, { usesAllowed: body.uses_allowed, expiryTs: body.expiry_time })),
  }),
  endpoint({
    operationId: 'deleteRegistrationToken',
    summary: 'Deletes a registration token. Accounts that were made with it stay.',
    method: 'DELETE',
    path,
    ...access,
    params,
    response: Type.Object({}),
    errcodes: ['M_NOT_FOUND'],
    async handler({ registrationTokens }: Services, { params: { token } }) {
      await registrationTokens.delete(token);
      return {};
    },
  }),
];
