import { Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { MembershipService } from '#src/services/membership/membership-service.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { anyObject, roomIdAnswer, roomParams } from './room-schemas.ts';

const body = Type.Object({ reason: Type.Optional(Type.String()), third_party_signed: Type.Optional(anyObject) });
const servers = Type.Optional(Type.Array(Type.String()));

export const joiningEndpoints = (services: { readonly membership: MembershipService }): readonly Endpoint[] => [
  endpoint({
    operationId: 'joinRoomById',
    summary: 'Join the requesting user to a particular room',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/join',
    auth: 'accessTokenOrGuest',
    rateLimit: 'join',
    params: roomParams,
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
        roomIdOrAlias: params.roomId,
        servers: query.via ?? query.server_name,
        reason: wish.reason,
        thirdPartySigned: wish.third_party_signed as JsonObject | undefined,
      });
      return { room_id: roomId };
    },
  }),
  endpoint({
    operationId: 'joinRoom',
    summary: 'Join the requesting user to a particular room',
    method: 'POST',
    path: '/_matrix/client/v3/join/{roomIdOrAlias}',
    auth: 'accessTokenOrGuest',
    rateLimit: 'join',
    params: Type.Object({ roomIdOrAlias: Type.String() }),
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
        roomIdOrAlias: params.roomIdOrAlias,
        servers: query.via ?? query.server_name,
        reason: wish.reason,
        thirdPartySigned: wish.third_party_signed as JsonObject | undefined,
      });
      return { room_id: roomId };
    },
  }),
];
