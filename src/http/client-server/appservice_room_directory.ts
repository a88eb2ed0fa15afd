import { Type } from 'typebox';
import { endpoint } from '../endpoint.ts';
import { noAppservice } from './parts/no-appservice.ts';
import { empty } from './parts/room-schemas.ts';

export const appserviceRoomDirectoryEndpoints = [
  endpoint({
    operationId: 'updateAppserviceRoomDirectoryVisibility',
    summary: "Updates a room's visibility in the application service's published room directory.",
    method: 'PUT',
    path: '/_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}',
    auth: 'accessToken',
    guests: 'refused',
    suspended: { refused: 'it is for application services, of which there are none' },
    rateLimit: 'default',
    params: Type.Object({ networkId: Type.String(), roomId: Type.String() }),
    body: Type.Object({ visibility: Type.Union([Type.Literal('public'), Type.Literal('private')]) }),
    response: empty,
    errcodes: ['M_FORBIDDEN'],
    handler: noAppservice,
  }),
];
