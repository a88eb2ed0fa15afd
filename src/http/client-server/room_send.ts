import { Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { DelayedEventService } from '#src/services/rooms/delayed-events/delayed-event-service.ts';
import type { RoomSending } from '#src/services/rooms/sending/room-sending.ts';
import { endpoint } from '../endpoint.ts';
import { delayIdAnswer, delayIdOf, delayOf, delayParameters } from './parts/delayed-parameters.ts';
import { anyObject, eventIdAnswer, eventIdOf } from './parts/room-schemas.ts';
import { stickyDurationOf, stickyParameter } from './parts/sticky-parameter.ts';
import { POLICY_ERRORS } from './parts/policy-errors.ts';

interface Services {
  readonly roomSending: RoomSending;
  readonly delayedEvents: DelayedEventService;
}

export const roomSendEndpoints = [
  endpoint({
    operationId: 'sendMessage',
    summary: 'Send a message event to the given room',
    method: 'PUT',
    path: '/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}',
    auth: 'accessToken',
    guests: 'allowed',
    suspended: { allowed: 'redactions of their own events may be sent this way; RoomSending refuses the rest' },
    rateLimit: 'message',
    params: Type.Object({ roomId: Type.String(), eventType: Type.String(), txnId: Type.String() }),
    query: Type.Object({ ts: Type.Optional(Type.Integer()), ...stickyParameter, ...delayParameters }),
    body: anyObject,
    eventBody: 'one',
    response: Type.Union([eventIdAnswer, delayIdAnswer]),
    errcodes: [
      'M_FORBIDDEN',
      'M_TOO_LARGE',
      'M_BAD_JSON',
      'M_INVALID_PARAM',
      'M_UNKNOWN',
      'M_LIMIT_EXCEEDED',
      ...POLICY_ERRORS,
    ],
    async handler(
      { delayedEvents, roomSending }: Services,
      { requester, params: { roomId, eventType: type, txnId }, query, body },
    ) {
      const ts = requester.appservice === undefined ? undefined : query.ts;
      const request = { roomId, type, content: body as JsonObject, ts, stickyDurationMs: stickyDurationOf(query) };
      const delayMs = delayOf(query);
      if (delayMs !== undefined) {
        const delayed = { ...request, delayMs, txnId, isOlderForm: true };
        return { delay_id: await delayedEvents.schedule(requester, delayed) };
      }
      return { event_id: await roomSending.message(requester, request, txnId) };
    },
    async earlierAnswer(
      { delayedEvents, roomSending }: Services,
      { requester, params: { roomId, eventType: type, txnId }, query },
    ) {
      if (delayOf(query) !== undefined)
        return delayIdOf(await delayedEvents.scheduled(requester, { roomId, type, txnId, isOlderForm: true }));
      return eventIdOf(await roomSending.sent(requester, { roomId, type }, txnId));
    },
  }),
  // Not in the specification, but in its old guides and so in many scripts: every request makes a new event.
  endpoint({
    operationId: 'sendMessageWithoutTransaction',
    summary: 'Send a message event to the given room, once for each request',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/send/{eventType}',
    auth: 'accessToken',
    guests: 'refused',
    suspended: { allowed: 'redactions of their own events may be sent this way; RoomSending refuses the rest' },
    rateLimit: 'message',
    params: Type.Object({ roomId: Type.String(), eventType: Type.String() }),
    query: Type.Object({ ts: Type.Optional(Type.Integer()) }),
    body: anyObject,
    eventBody: 'one',
    response: eventIdAnswer,
    errcodes: ['M_FORBIDDEN', 'M_TOO_LARGE', 'M_BAD_JSON', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED', ...POLICY_ERRORS],
    async handler({ roomSending }: Services, { requester, params: { roomId, eventType: type }, query, body }) {
      const ts = requester.appservice === undefined ? undefined : query.ts;
      const request = { roomId, type, content: body as JsonObject, ts };
      return { event_id: await roomSending.message(requester, request) };
    },
  }),
];
