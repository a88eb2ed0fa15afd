import { Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { MembershipHandshakes } from '#src/services/federation/handshakes/membership-handshakes.ts';
import { endpoint } from '../endpoint.ts';
import { pdu, roomAndEvent } from './parts/membership-schemas.ts';

interface Services {
  readonly membershipHandshakes: MembershipHandshakes;
}

/** Server-Server API, "Leaving Rooms (Rejecting Invites)". */
export const leavingV2Endpoints = [
  endpoint({
    operationId: 'sendLeaveV2',
    summary: 'Submit a signed leave event to a resident server.',
    method: 'PUT',
    path: '/_matrix/federation/v2/send_leave/{roomId}/{eventId}',
    auth: 'server',
    rateLimit: 'federation',
    memberEvents: ['leave'],
    params: roomAndEvent,
    body: pdu,
    response: Type.Object({}),
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INVALID_PARAM'],
    async handler({ membershipHandshakes }: Services, { body, params, requester }) {
      await membershipHandshakes.send('leave', {
        ...params,
        origin: requester.serverName,
        event: body as JsonObject,
      });
      return {};
    },
  }),
];
