import { Type } from 'typebox';
import type { UserEventRedactions } from '#src/services/admin/privacy/user-event-redactions.ts';
import { actorOf } from '../actor.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';

const time = Type.Integer();

interface Services {
  readonly userEventRedactions: UserEventRedactions;
}

/** Synapse Admin API: redacts all events of a user. */
export const userRedactionAdminEndpoints = [
  endpoint({
    operationId: 'adminRedactUserEvents',
    summary: 'Has what a user has sent redacted, in some rooms or in all of theirs: a task.',
    method: 'POST',
    path: '/_synapse/admin/v1/user/{userId}/redact',
    ...OF_ADMINISTRATORS,
    params: Type.Object({ userId: Type.String() }),
    body: Type.Object({
      rooms: Type.Array(Type.String(), { maxItems: 10_000 }),
      reason: Type.Optional(Type.Union([Type.String(), Type.Null()])),
      limit: Type.Optional(Type.Union([Type.Integer({ minimum: 1, maximum: 1_000_000 }), Type.Null()])),
      use_admin: Type.Optional(Type.Union([Type.Boolean(), Type.Null()])),
      before_ts: Type.Optional(Type.Union([time, Type.Null()])),
      after_ts: Type.Optional(Type.Union([time, Type.Null()])),
    }),
    response: Type.Object({ redact_id: Type.String() }),
    errcodes: ['M_INVALID_PARAM', 'M_BAD_JSON', 'M_MISSING_PARAM', 'M_UNKNOWN', 'M_LIMIT_EXCEEDED'],
    async handler({ userEventRedactions }: Services, { requester, params: { userId }, body, info }) {
      const id = await userEventRedactions.start({ ...actorOf(requester, info), userId: requester.userId }, userId, {
        rooms: body.rooms,
        reason: body.reason ?? undefined,
        limit: body.limit ?? undefined,
        useAdmin: body.use_admin ?? undefined,
        beforeTs: body.before_ts ?? undefined,
        afterTs: body.after_ts ?? undefined,
      });
      return { redact_id: id };
    },
  }),
  endpoint({
    operationId: 'adminGetRedactionStatus',
    summary: 'Says how far the redaction of what a user has sent has come.',
    method: 'GET',
    path: '/_synapse/admin/v1/user/redact_status/{redactId}',
    ...OF_ADMINISTRATORS,
    params: Type.Object({ redactId: Type.String() }),
    response: Type.Object({
      status: Type.String(),
      failed_redactions: Type.Optional(Type.Record(Type.String(), Type.String())),
      error: Type.Optional(Type.String()),
    }),
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ userEventRedactions }: Services, { params: { redactId } }) {
      const { error, result, status } = await userEventRedactions.find(redactId);
      const failed = (result['failed_redactions'] ?? {}) as Record<string, string>;
      if (status === 'complete') return { status, failed_redactions: failed };
      if (status === 'cancelled') return { status: 'failed', error: 'It was cancelled.' };
      return status === 'failed' ? { status, error: error ?? 'It failed.' } : { status };
    },
  }),
];
