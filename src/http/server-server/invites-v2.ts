import { Type } from 'typebox';
import type { JsonObject, JsonValue } from '#src/protocol/json/json-value.ts';
import type { ReceivedInvites } from '#src/services/federation/invites/received-invites.ts';
import { endpoint } from '../endpoint.ts';
import { pdu, roomAndEvent } from './parts/membership-schemas.ts';

interface Services {
  readonly receivedInvites: ReceivedInvites;
}

/** Server-Server API, "Inviting to a room". */
export const invitesV2Endpoints = [
  endpoint({
    operationId: 'sendInviteV2',
    summary: 'Invites a remote user to a room.',
    method: 'PUT',
    path: '/_matrix/federation/v2/invite/{roomId}/{eventId}',
    auth: 'server',
    rateLimit: 'federation',
    memberEvents: ['invite'],
    params: roomAndEvent,
    body: Type.Object({
      room_version: Type.String(),
      event: pdu,
      invite_room_state: Type.Optional(Type.Array(Type.Unknown())),
    }),
    response: Type.Object({ event: pdu }),
    errcodes: [
      'M_FORBIDDEN',
      'M_NOT_FOUND',
      'M_INVALID_PARAM',
      'M_INCOMPATIBLE_ROOM_VERSION',
      'M_INVITE_BLOCKED',
      'M_LIMIT_EXCEEDED',
    ],
    async handler({ receivedInvites }: Services, { body, params, requester }) {
      const { event, invite_room_state: state, room_version: version } = body;
      const signed = await receivedInvites.take({
        ...params,
        origin: requester.serverName,
        version,
        event: event as JsonObject,
        state: state as JsonValue | undefined,
      });
      return { event: signed };
    },
  }),
];
