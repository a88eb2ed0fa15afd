import { Type } from 'typebox';
import type { RoomUpgrade } from '#src/services/rooms/upgrade/room-upgrade.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { roomParams } from './room-schemas.ts';

export const roomUpgradesEndpoints = (services: { readonly roomUpgrade: RoomUpgrade }): readonly Endpoint[] => [
  endpoint({
    operationId: 'upgradeRoom',
    summary: 'Upgrades a room to a new room version',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/upgrade',
    auth: 'accessToken',
    rateLimit: 'create_room',
    params: roomParams,
    body: Type.Object({
      new_version: Type.String(),
      additional_creators: Type.Optional(Type.Array(Type.String())),
    }),
    response: Type.Object({ replacement_room: Type.String() }),
    errors: ['M_UNSUPPORTED_ROOM_VERSION', 'M_FORBIDDEN', 'M_INVALID_PARAM', 'M_BAD_JSON', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { roomId }, body }) {
      const { roomUpgrade } = services;
      const room = await roomUpgrade.upgrade(requester.userId, roomId, body.new_version, body.additional_creators);
      return { replacement_room: room.roomId };
    },
  }),
];
