import { Type } from 'typebox';
import { ADMINISTERS } from '#src/services/accounts/sessions/access-rules.ts';
import type { AccountValidity } from '#src/services/accounts/validity/account-validity.ts';
import { endpoint } from '../endpoint.ts';

const path = '/_tsudoi/admin/v1/users/{userId}/validity';
const params = Type.Object({ userId: Type.String() });
const validity = Type.Object({ expires_ts: Type.Union([Type.Integer(), Type.Null()]) });
const access = { auth: 'admin', guests: 'refused', suspended: ADMINISTERS, rateLimit: 'default' } as const;

interface Services {
  readonly accountValidity: AccountValidity;
}

/** Administrators say until when an account is good, in milliseconds since the epoch; null is for ever. */
export const accountValidityEndpoints = [
  endpoint({
    operationId: 'getAccountValidity',
    summary: 'Until when an account is good.',
    method: 'GET',
    path,
    ...access,
    params,
    response: validity,
    errcodes: ['M_NOT_FOUND'],
    handler: async ({ accountValidity }: Services, { params: { userId } }) => ({
      expires_ts: await accountValidity.of(userId),
    }),
  }),
  endpoint({
    operationId: 'setAccountValidity',
    summary: 'Says until when an account is good.',
    method: 'PUT',
    path,
    ...access,
    params,
    body: validity,
    response: validity,
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM'],
    async handler({ accountValidity }: Services, { params: { userId }, body }) {
      await accountValidity.set(userId, body.expires_ts);
      return { expires_ts: body.expires_ts };
    },
  }),
];
