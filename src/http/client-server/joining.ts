import { Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { anyObject, roomIdAnswer } from './room-schemas.ts';

const body = Type.Object({ reason: Type.Optional(Type.String()), third_party_signed: Type.Optional(anyObject) });
const servers = Type.Optional(Type.Array(Type.String()));

/** The two ways to join differ in how they name the room: by its id only, or by an alias as well. */
export const joiningEndpoints = (services: { readonly membership: MembershipService }): readonly Endpoint[] => {
  const join = (operationId: string, path: string, roomParam: 'roomId' | 'roomIdOrAlias'): Endpoint =>
    endpoint({
      operationId,
      summary: 'Join the requesting user to a particular room',
      method: 'POST',
      path,
      auth: 'accessTokenOrGuest',
      rateLimit: 'join',
      params: Type.Object({ [roomParam]: Type.String() }),
      query: Type.Object({ via: servers, server_name: servers }),
      body,
      bodyOptional: true,
      response: roomIdAnswer,
      errors: [
        'M_FORBIDDEN',
        'M_GUEST_ACCESS_FORBIDDEN',
        'M_NOT_FOUND',
        'M_UNABLE_TO_GRANT_JOIN',
        'M_INVALID_PARAM',
        'M_LIMIT_EXCEEDED',
      ],
      async handle({ requester, params, query, body: wish }) {
        const roomId = await services.membership.join(requester, {
          roomIdOrAlias: (params as Readonly<Record<string, string>>)[roomParam] ?? '',
          servers: query.via ?? query.server_name,
          reason: wish.reason,
          thirdPartySigned: wish.third_party_signed as JsonObject | undefined,
        });
        return { room_id: roomId };
      },
    });
  return [
    join('joinRoomById', '/_matrix/client/v3/rooms/{roomId}/join', 'roomId'),
    join('joinRoom', '/_matrix/client/v3/join/{roomIdOrAlias}', 'roomIdOrAlias'),
  ];
};
