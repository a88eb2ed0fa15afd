import { Type } from 'typebox';
import type { JoinService } from '#src/services/rooms/membership/join-service.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { reasonBody, roomIdAnswer } from './parts/room-schemas.ts';

const servers = Type.Optional(Type.Array(Type.String()));

interface Services {
  readonly joins: JoinService;
}

export const knockingEndpoints = [
  endpoint({
    operationId: 'knockRoom',
    summary: 'Knock on a room, requesting permission to join',
    method: 'POST',
    path: '/_matrix/client/v3/knock/{roomIdOrAlias}',
    auth: 'accessToken',
    guests: 'refused',
    suspended: 'refused',
    rateLimit: 'join',
    memberEvents: ['knock'],
    params: Type.Object({ roomIdOrAlias: Type.String() }),
    query: Type.Object({ via: servers, server_name: servers }),
    body: reasonBody,
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.record,
    response: roomIdAnswer,
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ joins }: Services, { requester, params, query, body }) {
      const roomId = await joins.knock(requester, {
        roomIdOrAlias: params.roomIdOrAlias,
        servers: query.via ?? query.server_name,
        reason: body.reason,
      });
      return { room_id: roomId };
    },
  }),
];
