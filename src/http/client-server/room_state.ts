import { Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomSending } from '#src/services/rooms/room-sending.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { anyObject, eventIdAnswer } from './room-schemas.ts';

export const roomStateEndpoints = (services: { readonly roomSending: RoomSending }): readonly Endpoint[] => [
  endpoint({
    operationId: 'setRoomStateWithKey',
    summary: 'Send a state event to the given room',
    method: 'PUT',
    path: '/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}',
    auth: 'accessTokenOrGuest',
    rateLimit: 'message',
    params: Type.Object({ roomId: Type.String(), eventType: Type.String(), stateKey: Type.String() }),
    query: Type.Object({ ts: Type.Optional(Type.Integer()) }),
    body: anyObject,
    eventBody: true,
    response: eventIdAnswer,
    errors: [
      'M_FORBIDDEN',
      'M_TOO_LARGE',
      'M_BAD_JSON',
      'M_BAD_ALIAS',
      'M_INVALID_PARAM',
      'M_INVITE_BLOCKED',
      'M_GUEST_ACCESS_FORBIDDEN',
      'M_UNABLE_TO_GRANT_JOIN',
      'M_LIMIT_EXCEEDED',
    ],
    async handle({ requester, params: { roomId, eventType: type, stateKey }, query, body }) {
      const ts = requester.mayChooseTimestamp === true ? query.ts : undefined;
      const request = { roomId, type, content: body as JsonObject, ts };
      return { event_id: await services.roomSending.state(requester, request, stateKey) };
    },
  }),
];
