import { Type } from 'typebox';
import type { UserErasure } from '#src/services/admin/privacy/user-erasure.ts';
import { actorOf } from '../actor.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from '../synapse-admin/parts/access.ts';
import { ACCOUNT_ERRORS, userParams } from '../synapse-admin/parts/users.ts';

const flag = Type.Optional(Type.Boolean());

interface Services {
  readonly userErasure: UserErasure;
}

export const userErasureEndpoints = [
  endpoint({
    operationId: 'eraseUser',
    summary: 'Takes away all that there is of a user: a task.',
    method: 'POST',
    path: '/_tsudoi/admin/v1/users/{user_id}/erase',
    ...OF_ADMINISTRATORS,
    memberEvents: ['leave'],
    params: userParams,
    body: Type.Object({ redact_events: flag, redact_profile: flag, delete_media: flag }),
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.small,
    response: Type.Object({ task_id: Type.String() }),
    errcodes: [...ACCOUNT_ERRORS, 'M_BAD_JSON', 'M_LIMIT_EXCEEDED'],
    async handler({ userErasure }: Services, { params: { user_id: userId }, body, requester, info }) {
      const id = await userErasure.start(actorOf(requester, info), userId, {
        redactsEvents: body.redact_events === true,
        redactsProfile: body.redact_profile === true,
        deletesMedia: body.delete_media === true,
      });
      return { task_id: id };
    },
  }),
];
