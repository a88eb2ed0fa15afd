import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { History } from '#src/services/reading/history/history.ts';
import type { RoomState } from '#src/services/reading/state/room-state.ts';
import { endpoint, Reply } from '../endpoint.ts';
import { anyObject, clientEvent, jsonAnswer, roomParams } from './parts/room-schemas.ts';

const membership = Type.Optional(
  Type.Union([
    Type.Literal('join'),
    Type.Literal('invite'),
    Type.Literal('knock'),
    Type.Literal('leave'),
    Type.Literal('ban'),
  ]),
);

interface Services {
  readonly history: History;
  readonly roomState: RoomState;
}

export const roomsEndpoints = [
  endpoint({
    operationId: 'getOneRoomEvent',
    summary: 'Get a single event by event ID',
    method: 'GET',
    path: '/_matrix/client/v3/rooms/{roomId}/event/{eventId}',
    auth: 'accessToken',
    guests: 'allowed',
    suspended: 'allowed',
    rateLimit: 'default',
    params: Type.Object({ roomId: Type.String(), eventId: Type.String() }),
    response: clientEvent,
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ history }: Services, { requester, params: { roomId, eventId } }) {
      return new Reply({ json: await history.event(roomId, requester, eventId) });
    },
  }),
  endpoint({
    operationId: 'getRoomState',
    summary: 'Get all state events in the current state of a room',
    method: 'GET',
    path: '/_matrix/client/v3/rooms/{roomId}/state',
    auth: 'accessToken',
    guests: 'allowed',
    suspended: 'allowed',
    rateLimit: 'default',
    params: roomParams,
    response: Type.Array(clientEvent),
    errcodes: ['M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    async handler({ roomState }: Services, { requester, params: { roomId } }) {
      return jsonAnswer(await roomState.allJson(roomId, requester.userId));
    },
  }),
  endpoint({
    operationId: 'getRoomStateWithKey',
    summary: 'Get the state identified by the type and key',
    method: 'GET',
    path: '/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}',
    auth: 'accessToken',
    guests: 'allowed',
    suspended: 'allowed',
    rateLimit: 'default',
    params: Type.Object({ roomId: Type.String(), eventType: Type.String(), stateKey: Type.String() }),
    query: Type.Object({ format: Type.Optional(Type.Union([Type.Literal('content'), Type.Literal('event')])) }),
    response: anyObject,
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ roomState }: Services, { requester, params: { roomId, eventType, stateKey }, query }) {
      const event = await roomState.one(roomId, requester.userId, eventType, stateKey);
      if (query.format !== 'event') return event.content;
      const [json] = await roomState.writeOf(roomId, requester.userId, [event]);
      return new Reply(json === undefined ? {} : { json });
    },
  }),
  endpoint({
    operationId: 'getMembersByRoom',
    summary: 'Get the m.room.member events for the room',
    method: 'GET',
    path: '/_matrix/client/v3/rooms/{roomId}/members',
    auth: 'accessToken',
    guests: 'allowed',
    suspended: 'allowed',
    rateLimit: 'default',
    params: roomParams,
    query: Type.Object({ at: Type.Optional(Type.String()), membership, not_membership: membership }),
    response: Type.Object({ chunk: Type.Array(clientEvent) }),
    errcodes: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ roomState }: Services, { requester, params: { roomId }, query }) {
      const wanted = { at: query.at, membership: query.membership, notMembership: query.not_membership };
      return jsonAnswer(await roomState.membersJson(roomId, requester.userId, wanted));
    },
  }),
  endpoint({
    operationId: 'getJoinedMembersByRoom',
    summary: 'Gets the list of currently joined users and their profile data',
    method: 'GET',
    path: '/_matrix/client/v3/rooms/{roomId}/joined_members',
    auth: 'accessToken',
    guests: { refused: 'getMembersByRoom returns more' },
    suspended: READS,
    rateLimit: 'default',
    params: roomParams,
    response: Type.Object({
      joined: Type.Record(
        Type.String(),
        // What is unset is null, as with other servers: clients and bridges read the members without asking whether they are there.
        Type.Object({
          display_name: Type.Union([Type.String(), Type.Null()]),
          avatar_url: Type.Union([Type.String(), Type.Null()]),
        }),
      ),
    }),
    errcodes: ['M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    async handler({ roomState }: Services, { requester, params: { roomId } }) {
      return jsonAnswer(await roomState.joinedMembersJson(roomId, requester.userId));
    },
  }),
];
