import { Type } from 'typebox';
import type { PresenceService } from '#src/services/ephemeral/presence/presence-service.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { empty } from './auth-schemas.ts';

const path = '/_matrix/client/v3/presence/{userId}/status';
const params = Type.Object({ userId: Type.String() });
const state = Type.Union([Type.Literal('online'), Type.Literal('offline'), Type.Literal('unavailable')]);

export const presenceEndpoints = (services: { readonly presence: PresenceService }): readonly Endpoint[] => [
  endpoint({
    operationId: 'setPresence',
    summary: "Update this user's presence state.",
    method: 'PUT',
    path,
    auth: 'accessToken',
    rateLimit: 'default',
    params,
    body: Type.Object({
      presence: state,
      status_msg: Type.Optional(Type.Union([Type.String({ maxLength: 2048 }), Type.Null()])),
    }),
    response: empty,
    errors: ['M_FORBIDDEN', 'M_BAD_JSON', 'M_NOT_JSON', 'M_MISSING_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { userId }, body }) {
      await services.presence.set(requester.userId, userId, body.presence, body.status_msg);
      return {};
    },
  }),
  endpoint({
    operationId: 'getPresence',
    summary: "Get this user's presence state.",
    method: 'GET',
    path,
    auth: 'accessToken',
    rateLimit: 'default',
    params,
    response: Type.Object({
      presence: state,
      last_active_ago: Type.Optional(Type.Integer()),
      status_msg: Type.Optional(Type.String()),
      currently_active: Type.Optional(Type.Boolean()),
    }),
    errors: ['M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    handle: ({ requester, params: { userId } }) => services.presence.read(requester.userId, userId),
  }),
];
