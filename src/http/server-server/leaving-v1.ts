import { Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { MembershipHandshakes } from '#src/services/federation/handshakes/membership-handshakes.ts';
import { endpoint } from '../endpoint.ts';
import { pdu, roomAndEvent, roomAndUser, templateAnswer } from './parts/membership-schemas.ts';

interface Services {
  readonly membershipHandshakes: MembershipHandshakes;
}

/** Server-Server API, "Leaving Rooms (Rejecting Invites)". */
export const leavingV1Endpoints = [
  endpoint({
    operationId: 'makeLeave',
    summary: 'Get information required to make a leave event for a room.',
    method: 'GET',
    path: '/_matrix/federation/v1/make_leave/{roomId}/{userId}',
    auth: 'server',
    rateLimit: 'federation',
    params: roomAndUser,
    response: templateAnswer,
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND'],
    handler: ({ membershipHandshakes }: Services, { params, requester }) =>
      membershipHandshakes.make('leave', { ...params, origin: requester.serverName }),
  }),
  endpoint({
    operationId: 'sendLeaveV1',
    summary: 'Submit a signed leave event to a resident server (as servers did before 2019).',
    method: 'PUT',
    path: '/_matrix/federation/v1/send_leave/{roomId}/{eventId}',
    auth: 'server',
    rateLimit: 'federation',
    memberEvents: ['leave'],
    params: roomAndEvent,
    body: pdu,
    response: Type.Array(Type.Unknown()),
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INVALID_PARAM'],
    async handler({ membershipHandshakes }: Services, { body, params, requester }) {
      await membershipHandshakes.send('leave', {
        ...params,
        origin: requester.serverName,
        event: body as JsonObject,
      });
      return [200, {}];
    },
  }),
];
