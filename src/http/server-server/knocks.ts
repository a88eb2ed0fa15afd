import { Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { MembershipHandshakes } from '#src/services/federation/handshakes/membership-handshakes.ts';
import { sentRoomState } from '#src/services/federation/invites/invite-room-state.ts';
import { endpoint } from '../endpoint.ts';
import { pdu, roomAndEvent, roomAndUser, templateAnswer, versionsQuery } from './parts/membership-schemas.ts';

interface Services {
  readonly membershipHandshakes: MembershipHandshakes;
}

/** Server-Server API, "Knocking upon a room". */
export const knocksEndpoints = [
  endpoint({
    operationId: 'makeKnock',
    summary: 'Get information required to make a knock event for a room.',
    method: 'GET',
    path: '/_matrix/federation/v1/make_knock/{roomId}/{userId}',
    auth: 'server',
    rateLimit: 'federation',
    params: roomAndUser,
    query: versionsQuery,
    response: templateAnswer,
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INCOMPATIBLE_ROOM_VERSION'],
    handler: ({ membershipHandshakes }: Services, { params, query: { ver = ['1'] }, requester }) =>
      membershipHandshakes.make('knock', { ...params, origin: requester.serverName, versions: ver }),
  }),
  endpoint({
    operationId: 'sendKnock',
    summary: 'Submit a signed knock event to a resident server.',
    method: 'PUT',
    path: '/_matrix/federation/v1/send_knock/{roomId}/{eventId}',
    auth: 'server',
    rateLimit: 'federation',
    memberEvents: ['knock'],
    params: roomAndEvent,
    body: pdu,
    response: Type.Object({ knock_room_state: Type.Array(pdu) }),
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INVALID_PARAM'],
    async handler({ membershipHandshakes }: Services, { body, params, requester }) {
      const { room } = await membershipHandshakes.send('knock', {
        ...params,
        origin: requester.serverName,
        event: body as JsonObject,
      });
      return { knock_room_state: sentRoomState(room, undefined) };
    },
  }),
];
