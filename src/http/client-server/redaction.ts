import { Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { DelayedEventService } from '#src/services/rooms/delayed-events/delayed-event-service.ts';
import type { RoomSending } from '#src/services/rooms/sending/room-sending.ts';
import { OTHERS_SEE } from '#src/services/accounts/admission/access-rules.ts';
import type { UserRedactions } from '#src/services/rooms/redactions/user-redactions.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { delayIdAnswer, delayIdOf, delayOf, delayParameters } from './parts/delayed-parameters.ts';
import { eventIdAnswer, eventIdOf } from './parts/room-schemas.ts';
import { POLICY_ERRORS } from './parts/policy-errors.ts';

const reason = Type.Object({ reason: Type.Optional(Type.String()) }, { additionalProperties: true });

interface Services {
  readonly userRedactions: UserRedactions;
  readonly roomSending: RoomSending;
  readonly delayedEvents: DelayedEventService;
}

export const redactionEndpoints = [
  endpoint({
    operationId: 'redactEvent',
    summary: 'Strips all non-integrity-critical information out of an event',
    method: 'PUT',
    path: '/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}',
    auth: 'accessToken',
    guests: 'refused',
    suspended: 'allowed',
    rateLimit: 'message',
    params: Type.Object({ roomId: Type.String(), eventId: Type.String(), txnId: Type.String() }),
    query: Type.Object(delayParameters),
    body: reason,
    bodyOptional: true,
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
      { requester, params: { roomId, eventId, txnId }, query, body },
    ) {
      const delayMs = delayOf(query);
      if (delayMs !== undefined) {
        // SDKs put the delay parameter here, too. It must not be ignored: a redaction that happens at once cannot be undone.
        const content = { ...(body as JsonObject), redacts: eventId };
        const request = { roomId, type: 'm.room.redaction', content, delayMs, isOlderForm: true };
        const delayId = await delayedEvents.schedule(requester, { ...request, txnId: `${eventId} ${txnId}` });
        return { delay_id: delayId };
      }
      return { event_id: await roomSending.redact(requester, roomId, eventId, body as JsonObject, txnId) };
    },
    async earlierAnswer(
      { delayedEvents, roomSending }: Services,
      { requester, params: { roomId, eventId, txnId }, query },
    ) {
      if (delayOf(query) === undefined) return eventIdOf(await roomSending.redacted(requester, roomId, eventId, txnId));
      const delayed = { roomId, type: 'm.room.redaction', txnId: `${eventId} ${txnId}`, isOlderForm: true };
      return delayIdOf(await delayedEvents.scheduled(requester, delayed));
    },
  }),
  // Not in the specification, but like its counterpart for sending in old guides and scripts.
  endpoint({
    operationId: 'redactEventWithoutTransaction',
    summary: 'Strips all non-integrity-critical information out of an event, by a new redaction for each request',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/redact/{eventId}',
    auth: 'accessToken',
    guests: 'refused',
    suspended: 'allowed',
    rateLimit: 'message',
    params: Type.Object({ roomId: Type.String(), eventId: Type.String() }),
    body: reason,
    bodyOptional: true,
    eventBody: 'one',
    response: eventIdAnswer,
    errcodes: ['M_FORBIDDEN', 'M_TOO_LARGE', 'M_BAD_JSON', 'M_LIMIT_EXCEEDED', ...POLICY_ERRORS],
    async handler({ roomSending }: Services, { requester, params: { roomId, eventId }, body }) {
      return { event_id: await roomSending.redact(requester, roomId, eventId, body as JsonObject) };
    },
  }),
  // MSC4194.
  endpoint({
    operationId: 'redactUserEvents',
    summary: 'Redacts the newest events that a user has sent into a room',
    method: 'POST',
    path: '/_matrix/client/unstable/org.matrix.msc4194/rooms/{roomId}/redact/user/{userId}',
    auth: 'accessToken',
    guests: { refused: 'guests do not moderate, and have what they sent redacted one by one' },
    suspended: OTHERS_SEE,
    rateLimit: 'bulk_redaction',
    params: Type.Object({ roomId: Type.String(), userId: Type.String() }),
    query: Type.Object({ limit: Type.Optional(Type.Integer({ minimum: 1 })) }),
    body: reason,
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.record,
    response: Type.Object({
      is_more_events: Type.Boolean(),
      redacted_events: Type.Integer(),
      soft_failed_events: Type.Integer(),
    }),
    errcodes: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_BAD_JSON', 'M_LIMIT_EXCEEDED'],
    async handler({ userRedactions }: Services, { requester, params: { roomId, userId }, query, body, info }) {
      const order = { roomId, target: userId, limit: query.limit ?? 25, reason: body.reason };
      const { hasMore, redacted, softFailed } = await userRedactions.redactNewest(requester, order, info.signal);
      return { is_more_events: hasMore, redacted_events: redacted, soft_failed_events: softFailed };
    },
  }),
];
