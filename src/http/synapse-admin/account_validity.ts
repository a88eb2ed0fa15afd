import { Type } from 'typebox';
import type { AccountValidity } from '#src/services/accounts/validity/account-validity.ts';
import { actorOf } from '../actor.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';

interface Services {
  readonly accountValidity: AccountValidity;
}

/** Synapse Admin API, "Account validity API". */
export const accountValidityAdminEndpoints = [
  endpoint({
    operationId: 'adminRenewAccount',
    summary: 'Says until when an account is good: for the usual time from now on, when no time is given.',
    method: 'POST',
    path: '/_synapse/admin/v1/account_validity/validity',
    ...OF_ADMINISTRATORS,
    body: Type.Object({
      user_id: Type.String(),
      expiration_ts: Type.Optional(Type.Integer({ minimum: 0 })),
      enable_renewal_emails: Type.Optional(Type.Boolean()),
    }),
    maxBodyBytes: BODY_BYTES.small,
    response: Type.Object({ expiration_ts: Type.Integer() }),
    errcodes: ['M_NOT_FOUND', 'M_MISSING_PARAM', 'M_UNKNOWN'],
    handler: async ({ accountValidity }: Services, { requester, body, info }) => ({
      expiration_ts: await accountValidity.setByAdmin(actorOf(requester, info), body.user_id, {
        expiresTs: body.expiration_ts,
        mails: body.enable_renewal_emails ?? true,
      }),
    }),
  }),
];
