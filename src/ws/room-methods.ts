import Type from 'typebox';
import { OTHERS_SEE } from '#src/services/accounts/admission/access-rules.ts';
import { MEMBER_EVENT_KINDS } from '#src/services/rooms/membership/member-event-kinds.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { RawResult } from './frames.ts';
import { type Method, method } from './method.ts';

const RoomId = Type.String({ description: 'Id of the room.', minLength: 1 });
const TxnId = Type.String({
  description: 'Transaction id: sent again with the same one, here or over HTTP, the event is not made twice.',
  minLength: 1,
  maxLength: 255,
});
const Content = Type.Object({}, { description: 'Content of the event.', additionalProperties: true });
const Reason = Type.Optional(Type.String({ description: 'Shown to the others in the room.' }));
const EventIdResult = Type.Object({ event_id: Type.String() });
const Empty = Type.Object({});

const eventIdOf = (eventId: string | undefined): JsonObject | undefined =>
  eventId === undefined ? undefined : { event_id: eventId };

const ROOM = '!room:example.org';
const EVENT = '$event';

/** What clients do in rooms. */
export const roomMethods: readonly Method[] = [
  method({
    name: 'send',
    summary: 'Sends a message event.',
    sameAs: 'sendMessage',
    rateLimit: 'message',
    guests: 'allowed',
    suspended: { allowed: 'redactions of their own events may be sent this way; RoomSending refuses the rest' },
    params: Type.Object({
      room_id: RoomId,
      event_type: Type.String({ minLength: 1 }),
      txn_id: TxnId,
      content: Content,
    }),
    eventContent: true,
    result: EventIdResult,
    errors: ['M_FORBIDDEN', 'M_TOO_LARGE'],
    example: {
      room_id: ROOM,
      event_type: 'm.room.message',
      txn_id: 'm1',
      content: { msgtype: 'm.text', body: 'こんにちは' },
    },
    handle: async ({ params, requester, services }) => {
      const request = { roomId: params.room_id, type: params.event_type, content: params.content as JsonObject };
      return { event_id: await services.sending.message(requester, request, params.txn_id) };
    },
    earlierAnswer: async ({ params, requester, services }) => {
      const request = { roomId: params.room_id, type: params.event_type };
      return eventIdOf(await services.sending.sent(requester, request, params.txn_id));
    },
  }),
  method({
    name: 'state',
    summary: 'Sets an entry of the room state.',
    sameAs: 'setRoomStateWithKey',
    rateLimit: 'message',
    memberEvents: MEMBER_EVENT_KINDS,
    guests: 'allowed',
    suspended: OTHERS_SEE,
    params: Type.Object({
      room_id: RoomId,
      event_type: Type.String({ minLength: 1 }),
      state_key: Type.Optional(Type.String({ description: 'Empty when left out.' })),
      content: Content,
    }),
    eventContent: true,
    result: EventIdResult,
    errors: ['M_FORBIDDEN', 'M_TOO_LARGE', 'M_INVALID_PARAM', 'M_BAD_ALIAS'],
    example: { room_id: ROOM, event_type: 'm.room.topic', content: { topic: 'Tea' } },
    handle: async ({ params, requester, services }) => {
      const request = { roomId: params.room_id, type: params.event_type, content: params.content as JsonObject };
      return { event_id: await services.sending.state(requester, request, params.state_key ?? '') };
    },
  }),
  method({
    name: 'redact',
    summary: 'Strips an event of its content.',
    sameAs: 'redactEvent',
    rateLimit: 'message',
    guests: 'refused',
    suspended: 'allowed',
    params: Type.Object({ room_id: RoomId, event_id: Type.String({ minLength: 1 }), txn_id: TxnId, reason: Reason }),
    eventContent: true,
    result: EventIdResult,
    errors: ['M_FORBIDDEN'],
    example: { room_id: ROOM, event_id: EVENT, txn_id: 'm2', reason: 'Sent to the wrong room' },
    handle: async ({ params, requester, services }) => {
      const content: JsonObject = params.reason === undefined ? {} : { reason: params.reason };
      const { room_id: roomId, event_id: eventId, txn_id: txnId } = params;
      return { event_id: await services.sending.redact(requester, roomId, eventId, content, txnId) };
    },
    earlierAnswer: async ({ params: { room_id: roomId, event_id: eventId, txn_id: txnId }, requester, services }) =>
      eventIdOf(await services.sending.redacted(requester, roomId, eventId, txnId)),
  }),
  method({
    name: 'join',
    summary: 'Joins a room.',
    sameAs: 'joinRoom',
    rateLimit: 'join',
    memberEvents: ['join', 'invite'],
    guests: { allowed: 'the same as joinRoomById; clients join by this path, also where they have the id of the room' },
    suspended: 'refused',
    params: Type.Object({
      room_id_or_alias: Type.String({ minLength: 1 }),
      via: Type.Optional(
        Type.Array(Type.String(), { description: 'Servers to ask about a room that is not known here.' }),
      ),
      reason: Reason,
      third_party_signed: Type.Optional(Type.Object({}, { additionalProperties: true })),
    }),
    eventContent: true,
    result: Type.Object({ room_id: Type.String() }),
    errors: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INVALID_PARAM', 'M_GUEST_ACCESS_FORBIDDEN'],
    example: { room_id_or_alias: '#tea:example.org' },
    handle: async ({ params, requester, services }) => ({
      room_id: await services.joins.join(requester, {
        roomIdOrAlias: params.room_id_or_alias,
        servers: params.via,
        reason: params.reason,
        thirdPartySigned: params.third_party_signed as JsonObject | undefined,
      }),
    }),
  }),
  method({
    name: 'leave',
    summary: 'Leaves a room, rejects an invite or takes back a knock.',
    sameAs: 'leaveRoom',
    rateLimit: 'default',
    memberEvents: ['leave'],
    guests: 'allowed',
    suspended: 'allowed',
    params: Type.Object({ room_id: RoomId, reason: Reason }),
    eventContent: true,
    result: Empty,
    errors: ['M_FORBIDDEN', 'M_NOT_FOUND'],
    example: { room_id: ROOM },
    handle: async ({ params, requester, services }) => {
      await services.membership.leave(requester.userId, params.room_id, params.reason);
      return {};
    },
  }),
  method({
    name: 'invite',
    summary: 'Invites a user.',
    sameAs: 'inviteUser',
    rateLimit: 'invite',
    memberEvents: ['invite'],
    guests: 'refused',
    suspended: 'refused',
    params: Type.Object({ room_id: RoomId, user_id: Type.String({ minLength: 1 }), reason: Reason }),
    eventContent: true,
    result: Empty,
    errors: ['M_FORBIDDEN', 'M_INVITE_BLOCKED', 'M_INVALID_PARAM'],
    example: { room_id: ROOM, user_id: '@bob:example.org' },
    handle: async ({ params, requester, services }) => {
      const request = { target: params.user_id, reason: params.reason };
      await services.membership.invite(requester, params.room_id, request);
      return {};
    },
  }),
  method({
    name: 'messages',
    summary: "A page of a room's history.",
    sameAs: 'getRoomEvents',
    rateLimit: 'default',
    guests: 'allowed',
    suspended: 'allowed',
    params: Type.Object({
      room_id: RoomId,
      dir: Type.Union([Type.Literal('b'), Type.Literal('f')], { description: 'Back in time, or forwards.' }),
      from: Type.Optional(Type.String({ description: 'Where to begin: a token of a frame or of an earlier page.' })),
      to: Type.Optional(Type.String()),
      limit: Type.Optional(Type.Integer({ minimum: 0 })),
      filter: Type.Optional(Type.Object({}, { description: 'A RoomEventFilter.', additionalProperties: true })),
    }),
    result: Type.Object({
      start: Type.String(),
      end: Type.Optional(Type.String({ description: 'Missing when there is nothing further in this direction.' })),
      chunk: Type.Array(Type.Object({})),
      state: Type.Optional(Type.Array(Type.Object({}))),
    }),
    errors: ['M_FORBIDDEN', 'M_INVALID_PARAM'],
    example: { room_id: ROOM, dir: 'b', from: 't1_5_2s', limit: 20 },
    handle: async ({ params, requester, services }) => {
      const { start, end, chunk, state } = await services.history.messages(params.room_id, requester, {
        dir: params.dir,
        from: params.from,
        to: params.to,
        limit: params.limit,
        filter: params.filter,
      });
      const parts = [`"start":${JSON.stringify(start)}`, `"chunk":[${chunk.join(',')}]`];
      if (end !== undefined) parts.push(`"end":${JSON.stringify(end)}`);
      if (state !== undefined) parts.push(`"state":[${state.join(',')}]`);
      return new RawResult(`{${parts.join(',')}}`);
    },
  }),
];
