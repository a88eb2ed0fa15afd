import { Type } from 'typebox';
import { OTHERS_SEE } from '#src/services/accounts/admission/access-rules.ts';
import type { RoomUpgrade } from '#src/services/rooms/upgrade/room-upgrade.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { roomParams } from './parts/room-schemas.ts';

interface Services {
  readonly roomUpgrade: RoomUpgrade;
}

export const roomUpgradesEndpoints = [
  endpoint({
    operationId: 'upgradeRoom',
    summary: 'Upgrades a room to a new room version',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/upgrade',
    auth: 'accessToken',
    guests: 'refused',
    suspended: OTHERS_SEE,
    rateLimit: 'create_room',
    memberEvents: ['join', 'ban'],
    params: roomParams,
    body: Type.Object({
      new_version: Type.String(),
      additional_creators: Type.Optional(Type.Array(Type.String())),
    }),
    maxBodyBytes: BODY_BYTES.record,
    response: Type.Object({ replacement_room: Type.String() }),
    errcodes: ['M_UNSUPPORTED_ROOM_VERSION', 'M_FORBIDDEN', 'M_INVALID_PARAM', 'M_BAD_JSON', 'M_LIMIT_EXCEEDED'],
    async handler({ roomUpgrade }: Services, { requester, params: { roomId }, body }) {
      const { additional_creators: creators, new_version: version } = body;
      return { replacement_room: await roomUpgrade.replace(requester.userId, roomId, version, creators) };
    },
  }),
];
