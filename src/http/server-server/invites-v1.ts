import { Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import type { ReceivedInvites } from '#src/services/federation/invites/received-invites.ts';
import { endpoint } from '../endpoint.ts';
import { pdu, roomAndEvent } from './parts/membership-schemas.ts';

interface Services {
  readonly receivedInvites: ReceivedInvites;
}

/** Server-Server API, "Inviting to a room". */
export const invitesV1Endpoints = [
  endpoint({
    operationId: 'sendInviteV1',
    summary: 'Invites a remote user to a room of version 1 or 2.',
    method: 'PUT',
    path: '/_matrix/federation/v1/invite/{roomId}/{eventId}',
    auth: 'server',
    rateLimit: 'federation',
    memberEvents: ['invite'],
    params: roomAndEvent,
    body: pdu,
    response: Type.Array(Type.Unknown()),
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INVALID_PARAM', 'M_INVITE_BLOCKED', 'M_LIMIT_EXCEEDED'],
    async handler({ receivedInvites }: Services, { body, params, requester }) {
      const event = body as JsonObject;
      const { unsigned } = event;
      const state = isJsonObject(unsigned) ? unsigned['invite_room_state'] : undefined;
      const origin = requester.serverName;
      return [200, { event: await receivedInvites.take({ ...params, origin, version: undefined, event, state }) }];
    },
  }),
];
