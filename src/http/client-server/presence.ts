import { Type } from 'typebox';
import { OTHERS_SEE, READS } from '#src/services/accounts/admission/access-rules.ts';
import type { PresenceService } from '#src/services/ephemeral/presence/presence-service.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { empty } from './parts/auth-schemas.ts';

const path = '/_matrix/client/v3/presence/{userId}/status';
const params = Type.Object({ userId: Type.String() });
const state = Type.Union([Type.Literal('online'), Type.Literal('offline'), Type.Literal('unavailable')]);

interface Services {
  readonly presence: PresenceService;
}

export const presenceEndpoints = [
  endpoint({
    operationId: 'setPresence',
    summary: "Update this user's presence state.",
    method: 'PUT',
    path,
    auth: 'accessToken',
    guests: 'refused',
    suspended: OTHERS_SEE,
    rateLimit: 'default',
    params,
    body: Type.Object({
      presence: state,
      status_msg: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    }),
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    errcodes: ['M_FORBIDDEN', 'M_BAD_JSON', 'M_NOT_JSON', 'M_MISSING_PARAM', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ presence }: Services, { requester, params: { userId }, body }) {
      await presence.set(requester.userId, userId, body.presence, body.status_msg);
      return {};
    },
  }),
  endpoint({
    operationId: 'getPresence',
    summary: "Get this user's presence state.",
    method: 'GET',
    path,
    auth: 'accessToken',
    guests: { refused: 'sync shows it for users who share a room' },
    suspended: READS,
    rateLimit: 'default',
    params,
    response: Type.Object({
      presence: state,
      last_active_ago: Type.Optional(Type.Integer()),
      status_msg: Type.Optional(Type.String()),
      currently_active: Type.Optional(Type.Boolean()),
    }),
    errcodes: ['M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    handler: ({ presence }: Services, { requester, params: { userId } }) => presence.read(requester.userId, userId),
  }),
];
