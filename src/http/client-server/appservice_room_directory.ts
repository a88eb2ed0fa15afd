import { Type } from 'typebox';
import { OTHERS_SEE } from '#src/services/accounts/admission/access-rules.ts';
import type { PublicRooms } from '#src/services/rooms/directory/public-rooms.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { empty } from './parts/room-schemas.ts';

interface Services {
  readonly publicRooms: PublicRooms;
}

export const appserviceRoomDirectoryEndpoints = [
  endpoint({
    operationId: 'updateAppserviceRoomDirectoryVisibility',
    summary: "Updates a room's visibility in the application service's published room directory.",
    method: 'PUT',
    path: '/_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}',
    auth: 'accessToken',
    guests: 'refused',
    suspended: OTHERS_SEE,
    rateLimit: 'default',
    params: Type.Object({ networkId: Type.String(), roomId: Type.String() }),
    body: Type.Object({ visibility: Type.Union([Type.Literal('public'), Type.Literal('private')]) }),
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INVALID_PARAM'],
    async handler({ publicRooms }: Services, { requester, params: { networkId, roomId }, body }) {
      await publicRooms.setListedInNetwork(requester, networkId, roomId, body.visibility === 'public');
      return {};
    },
  }),
];
