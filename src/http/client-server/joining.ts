import { Type } from 'typebox';
import type { AccessRule } from '#src/services/accounts/admission/access-rules.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { JoinService } from '#src/services/rooms/membership/join-service.ts';
import { endpoint } from '../endpoint.ts';
import { anyObject, roomIdAnswer } from './parts/room-schemas.ts';

const body = Type.Object({ reason: Type.Optional(Type.String()), third_party_signed: Type.Optional(anyObject) });
const servers = Type.Optional(Type.Array(Type.String()));

interface Services {
  readonly joins: JoinService;
}

/** The two endpoints differ in how the room is named: by its id only, or by its id or an alias. */
const join = (operationId: string, path: string, roomParam: 'roomId' | 'roomIdOrAlias', guests: AccessRule) =>
  endpoint({
    operationId,
    summary: 'Join the requesting user to a particular room',
    method: 'POST',
    path,
    auth: 'accessToken',
    guests,
    suspended: 'refused',
    rateLimit: 'join',
    // The invite is that of `third_party_signed`, in the name of who made it.
    memberEvents: ['join', 'invite'],
    params: Type.Object({ [roomParam]: Type.String() }),
    query: Type.Object({ via: servers, server_name: servers }),
    body,
    bodyOptional: true,
    eventBody: 'one',
    response: roomIdAnswer,
    errcodes: [
      'M_FORBIDDEN',
      'M_GUEST_ACCESS_FORBIDDEN',
      'M_NOT_FOUND',
      'M_UNABLE_TO_GRANT_JOIN',
      'M_RESOURCE_LIMIT_EXCEEDED',
      'M_INVALID_PARAM',
      'M_BAD_JSON',
      'M_TOO_LARGE',
      'M_LIMIT_EXCEEDED',
    ],
    async handler({ joins }: Services, { requester, params, query, body: request }) {
      const { reason, third_party_signed: thirdPartySigned, ...content } = request;
      const roomId = await joins.join(requester, {
        roomIdOrAlias: (params as Readonly<Record<string, string>>)[roomParam] ?? '',
        servers: query.via ?? query.server_name,
        reason,
        content: content as JsonObject,
        thirdPartySigned: thirdPartySigned as JsonObject | undefined,
      });
      return { room_id: roomId };
    },
  });

export const joiningEndpoints = [
  join('joinRoomById', '/_matrix/client/v3/rooms/{roomId}/join', 'roomId', 'allowed'),
  join('joinRoom', '/_matrix/client/v3/join/{roomIdOrAlias}', 'roomIdOrAlias', {
    allowed: 'the same as joinRoomById; clients join by this path, also where they have the id of the room',
  }),
];
