import { Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { DelayedEventService } from '#src/services/rooms/delayed-events/delayed-event-service.ts';
import type { RoomSending } from '#src/services/rooms/sending/room-sending.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { delayIdAnswer, delayOf, delayParameters } from './delayed_parameters.ts';
import { anyObject, eventIdAnswer } from './room-schemas.ts';
import { stickyDurationOf, stickyParameter } from './sticky_parameter.ts';

export const roomSendEndpoints = (services: {
  readonly roomSending: RoomSending;
  readonly delayedEvents: DelayedEventService;
}): readonly Endpoint[] => [
  endpoint({
    operationId: 'sendMessage',
    summary: 'Send a message event to the given room',
    method: 'PUT',
    path: '/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}',
    auth: 'accessTokenOrGuest',
    rateLimit: 'message',
    params: Type.Object({ roomId: Type.String(), eventType: Type.String(), txnId: Type.String() }),
    query: Type.Object({ ts: Type.Optional(Type.Integer()), ...stickyParameter, ...delayParameters }),
    body: anyObject,
    eventBody: true,
    response: Type.Union([eventIdAnswer, delayIdAnswer]),
    errors: ['M_FORBIDDEN', 'M_TOO_LARGE', 'M_BAD_JSON', 'M_INVALID_PARAM', 'M_UNKNOWN', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { roomId, eventType: type, txnId }, query, body }) {
      const ts = requester.mayChooseTimestamp === true ? query.ts : undefined;
      const request = { roomId, type, content: body as JsonObject, ts, stickyDurationMs: stickyDurationOf(query) };
      const delayMs = delayOf(query);
      if (delayMs !== undefined) {
        const delayed = { ...request, delayMs, txnId, isOlderForm: true };
        return { delay_id: await services.delayedEvents.schedule(requester, delayed) };
      }
      return { event_id: await services.roomSending.message(requester, request, txnId) };
    },
  }),
  // Not in the specification, but in its old guides and so in many scripts: every request makes a new event.
  endpoint({
    operationId: 'sendMessageWithoutTransaction',
    summary: 'Send a message event to the given room, once for each request',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/send/{eventType}',
    auth: 'accessToken',
    rateLimit: 'message',
    params: Type.Object({ roomId: Type.String(), eventType: Type.String() }),
    query: Type.Object({ ts: Type.Optional(Type.Integer()) }),
    body: anyObject,
    eventBody: true,
    response: eventIdAnswer,
    errors: ['M_FORBIDDEN', 'M_TOO_LARGE', 'M_BAD_JSON', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { roomId, eventType: type }, query, body }) {
      const ts = requester.mayChooseTimestamp === true ? query.ts : undefined;
      const request = { roomId, type, content: body as JsonObject, ts };
      return { event_id: await services.roomSending.message(requester, request) };
    },
  }),
];
