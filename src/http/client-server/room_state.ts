import { Type } from 'typebox';
import { OTHERS_SEE } from '#src/services/accounts/admission/access-rules.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { DelayedEventService } from '#src/services/rooms/delayed-events/delayed-event-service.ts';
import type { RoomSending } from '#src/services/rooms/sending/room-sending.ts';
import { MEMBER_EVENT_KINDS } from '#src/services/rooms/membership/member-event-kinds.ts';
import { endpoint } from '../endpoint.ts';
import { delayIdAnswer, delayOf, delayParameters } from './parts/delayed-parameters.ts';
import { anyObject, eventIdAnswer } from './parts/room-schemas.ts';
import { POLICY_ERRORS } from './parts/policy-errors.ts';

interface Services {
  readonly roomSending: RoomSending;
  readonly delayedEvents: DelayedEventService;
}

export const roomStateEndpoints = [
  endpoint({
    operationId: 'setRoomStateWithKey',
    summary: 'Send a state event to the given room',
    method: 'PUT',
    path: '/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}',
    auth: 'accessToken',
    guests: 'allowed',
    suspended: OTHERS_SEE,
    rateLimit: 'message',
    memberEvents: MEMBER_EVENT_KINDS,
    params: Type.Object({ roomId: Type.String(), eventType: Type.String(), stateKey: Type.String() }),
    query: Type.Object({ ts: Type.Optional(Type.Integer()), ...delayParameters }),
    body: anyObject,
    eventBody: 'one',
    response: Type.Union([eventIdAnswer, delayIdAnswer]),
    errcodes: [
      'M_FORBIDDEN',
      'M_TOO_LARGE',
      'M_BAD_JSON',
      'M_BAD_ALIAS',
      'M_INVALID_PARAM',
      'M_INVITE_BLOCKED',
      'M_GUEST_ACCESS_FORBIDDEN',
      'M_UNABLE_TO_GRANT_JOIN',
      'M_RESOURCE_LIMIT_EXCEEDED',
      'M_UNKNOWN',
      'M_LIMIT_EXCEEDED',
      ...POLICY_ERRORS,
    ],
    async handler(
      { delayedEvents, roomSending }: Services,
      { requester, params: { roomId, eventType: type, stateKey }, query, body },
    ) {
      const ts = requester.appservice === undefined ? undefined : query.ts;
      const request = { roomId, type, content: body as JsonObject, ts };
      const delayMs = delayOf(query);
      if (delayMs !== undefined) {
        const delayed = { ...request, delayMs, stateKey, isOlderForm: true };
        return { delay_id: await delayedEvents.schedule(requester, delayed) };
      }
      return { event_id: await roomSending.state(requester, request, stateKey) };
    },
  }),
];
