import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { DelayedEventList, DelayedEventPage } from '#src/services/rooms/delayed-events/delayed-event-list.ts';
import { DELAYED_ACTIONS, type DelayedEventService } from '#src/services/rooms/delayed-events/delayed-event-service.ts';
import type { DelayedManagement } from '#src/services/rooms/delayed-events/delayed-management.ts';
import type { DelayedEvent } from '#src/services/rooms/delayed-events/delayed-event.ts';
import { MEMBER_EVENT_KINDS } from '#src/services/rooms/membership/member-event-kinds.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { delayIdAnswer, delayIdOf } from './parts/delayed-parameters.ts';
import { anyObject, empty } from './parts/room-schemas.ts';
import { stickyDurationOf, stickyParameter } from './parts/sticky-parameter.ts';

const BASE = '/_matrix/client/unstable/org.matrix.msc4140';
const delayParams = Type.Object({ delayId: Type.String() });
const finalised = { 409: { description: 'M_UNKNOWN: it was sent, or cancelled, already.' } };

interface Services {
  readonly delayedEvents: DelayedEventService;
  readonly delayedEventList: DelayedEventList;
  readonly delayedManagement: DelayedManagement;
}

/** A delayed event as clients read it; `delay`, `running_since` and `delayed_since_ts` are from earlier drafts of MSC4140. */
const delayedEvent = Type.Object({
  delay_id: Type.String(),
  room_id: Type.String(),
  type: Type.String(),
  state_key: Type.Optional(Type.String()),
  delay_ms: Type.Integer(),
  scheduled_at: Type.Integer(),
  content: anyObject,
  delay: Type.Integer(),
  running_since: Type.Integer(),
  delayed_since_ts: Type.Integer(),
  error: Type.Optional(anyObject),
  event_id: Type.Optional(Type.String()),
  finalised_ts: Type.Optional(Type.Integer()),
  finalised: Type.Optional(anyObject),
});

const scheduledShape = (event: DelayedEvent): object => ({
  delay_id: event.delay_id,
  room_id: event.room_id,
  type: event.type,
  ...(event.state_key === null ? {} : { state_key: event.state_key }),
  delay_ms: event.delay_ms,
  scheduled_at: event.scheduled_at,
  content: event.content,
  delay: event.delay_ms,
  running_since: event.scheduled_at,
  delayed_since_ts: event.scheduled_at,
});

const outcomeOf = ({ error, event_id: eventId }: DelayedEvent): object => ({
  ...(error === null ? {} : { error }),
  ...(eventId === null ? {} : { event_id: eventId }),
});

const singleShape = (event: DelayedEvent): object => {
  if (event.finalised_ts === null) return scheduledShape(event);
  const finalised = { ...outcomeOf(event), finalised_ts: event.finalised_ts };
  return { ...scheduledShape(event), ...finalised, finalised };
};

/** A finalised event in a list: only earlier drafts list those. */
const listedOutcome = (event: DelayedEvent): object => {
  const isManual = event.finalised_ts !== null && event.finalised_ts < event.scheduled_at + event.delay_ms;
  return {
    delayed_event: scheduledShape(event),
    outcome: event.event_id === null ? 'cancel' : 'send',
    reason: event.error === null ? (event.event_id === null || isManual ? 'action' : 'delay') : 'error',
    ...outcomeOf(event),
    origin_server_ts: event.finalised_ts,
  };
};

const listShape = ({ scheduled, finalised, next }: DelayedEventPage): object => {
  const events = scheduled?.map(scheduledShape);
  return {
    delayed_events: events ?? [],
    ...(events === undefined ? {} : { scheduled: events }),
    ...(finalised === undefined ? {} : { finalised: finalised.map(listedOutcome) }),
    ...(next === undefined ? {} : { next_batch: next }),
  };
};

/** Delayed events. MSC4140; the action in the body, filters and pages are from its earlier drafts. */
export const delayedEventsEndpoints = [
  endpoint({
    operationId: 'scheduleDelayedEvent',
    summary: 'Schedule an event to be sent at a later time.',
    method: 'PUT',
    path: `${BASE}/rooms/{roomId}/delayed_event/{eventType}/{txnId}`,
    auth: 'accessToken',
    guests: { allowed: 'what guests may send they may send later' },
    suspended: { allowed: 'whether it may be sent is asked when its time has come' },
    rateLimit: 'message',
    memberEvents: MEMBER_EVENT_KINDS,
    params: Type.Object({ roomId: Type.String(), eventType: Type.String(), txnId: Type.String() }),
    query: Type.Object({
      ts: Type.Optional(Type.Integer()),
      ...stickyParameter,
    }),
    body: Type.Object({
      delay_ms: Type.Integer({ minimum: 1 }),
      state_key: Type.Optional(Type.String()),
      content: anyObject,
    }),
    eventBody: 'one',
    response: delayIdAnswer,
    errcodes: ['M_FORBIDDEN', 'M_TOO_LARGE', 'M_BAD_JSON', 'M_MISSING_PARAM', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ delayedEvents }: Services, { requester, params: { roomId, eventType: type, txnId }, query, body }) {
      const ts = requester.appservice === undefined ? undefined : query.ts;
      const delayId = await delayedEvents.schedule(requester, {
        roomId,
        type,
        stateKey: body.state_key,
        content: body.content as JsonObject,
        delayMs: body.delay_ms,
        ts,
        stickyDurationMs: stickyDurationOf(query),
        txnId,
        isOlderForm: false,
      });
      return { delay_id: delayId };
    },
    async earlierAnswer({ delayedEvents }: Services, { requester, params: { roomId, eventType: type, txnId } }) {
      return delayIdOf(await delayedEvents.scheduled(requester, { roomId, type, txnId, isOlderForm: false }));
    },
  }),
  endpoint({
    operationId: 'getDelayedEvents',
    summary: 'The delayed events that the requester has scheduled.',
    method: 'GET',
    path: `${BASE}/delayed_events`,
    auth: 'accessToken',
    guests: { allowed: 'what guests may send they may send later, and see what of their own is waiting' },
    suspended: READS,
    rateLimit: 'default',
    query: Type.Object({
      status: Type.Optional(Type.Union([Type.Literal('scheduled'), Type.Literal('finalised')])),
      delay_id: Type.Optional(Type.Array(Type.String(), { maxItems: 500 })),
      from: Type.Optional(Type.String()),
    }),
    response: Type.Object({
      delayed_events: Type.Array(delayedEvent),
      scheduled: Type.Optional(Type.Array(delayedEvent)),
      finalised: Type.Optional(Type.Array(anyObject)),
      next_batch: Type.Optional(Type.String()),
    }),
    errcodes: ['M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler(
      { delayedEventList, delayedManagement }: Services,
      { requester, query: { status, delay_id: delayIds, from } },
    ) {
      delayedManagement.limit(requester);
      return listShape(await delayedEventList.page(requester.userId, { status, delayIds, from }));
    },
  }),
  endpoint({
    operationId: 'getDelayedEvent',
    summary: 'A delayed event that the requester has scheduled, and what became of it.',
    method: 'GET',
    path: `${BASE}/delayed_events/{delayId}`,
    auth: 'accessToken',
    guests: { allowed: 'what guests may send they may send later, and see what of their own is waiting' },
    suspended: READS,
    rateLimit: 'default',
    params: delayParams,
    response: delayedEvent,
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ delayedEvents, delayedManagement }: Services, { requester, params: { delayId } }) {
      delayedManagement.limit(requester);
      return singleShape(await delayedEvents.one(requester.userId, delayId));
    },
  }),
  ...DELAYED_ACTIONS.map((action) =>
    endpoint({
      operationId: `${action}DelayedEvent`,
      summary: `Manage a scheduled delayed event: ${action}.`,
      method: 'POST',
      path: `${BASE}/delayed_events/{delayId}/${action}`,
      auth: 'optionalToken',
      guests: { allowed: 'a client that knows the id manages it, without any token' },
      suspended: { allowed: 'whether it may be sent is asked when its time has come' },
      rateLimit: 'delayed_event_relay',
      ...(action === 'send' ? { memberEvents: MEMBER_EVENT_KINDS } : {}),
      params: delayParams,
      response: empty,
      errcodes: ['M_NOT_FOUND', 'M_FORBIDDEN', 'M_MISSING_TOKEN', 'M_LIMIT_EXCEEDED'],
      answers: finalised,
      async handler({ delayedManagement }: Services, { requester, params: { delayId } }) {
        await delayedManagement.manage(action, delayId, requester);
        return {};
      },
    }),
  ),
  endpoint({
    operationId: 'updateDelayedEvent',
    summary: 'Manage a scheduled delayed event, with the action in the body.',
    method: 'POST',
    path: `${BASE}/delayed_events/{delayId}`,
    auth: 'optionalToken',
    guests: { allowed: 'a client that knows the id manages it, without any token' },
    suspended: { allowed: 'whether it may be sent is asked when its time has come' },
    rateLimit: 'delayed_event_relay',
    memberEvents: MEMBER_EVENT_KINDS,
    params: delayParams,
    body: Type.Object({ action: Type.String() }),
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    errcodes: [
      'M_NOT_FOUND',
      'M_FORBIDDEN',
      'M_NOT_JSON',
      'M_MISSING_PARAM',
      'M_INVALID_PARAM',
      'M_MISSING_TOKEN',
      'M_LIMIT_EXCEEDED',
    ],
    answers: finalised,
    async handler({ delayedManagement }: Services, { requester, params: { delayId }, body: { action } }) {
      await delayedManagement.manage(action, delayId, requester);
      return {};
    },
  }),
];
