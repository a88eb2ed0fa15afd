import { Type } from 'typebox';
import type { ReadMarkerService } from '#src/services/push/receipts/read-marker-service.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { empty } from './auth-schemas.ts';

export const readMarkersEndpoints = (services: { readonly readMarkers: ReadMarkerService }): readonly Endpoint[] => [
  endpoint({
    operationId: 'setReadMarker',
    summary: 'Set the position of the read marker for a room.',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/read_markers',
    auth: 'accessToken',
    rateLimit: 'default',
    params: Type.Object({ roomId: Type.String() }),
    body: Type.Object({
      'm.fully_read': Type.Optional(Type.String()),
      'm.read': Type.Optional(Type.String()),
      'm.read.private': Type.Optional(Type.String()),
    }),
    response: empty,
    errors: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_NOT_JSON', 'M_BAD_JSON', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { roomId }, body }) {
      await services.readMarkers.sendAll(requester.userId, roomId, {
        fullyRead: body['m.fully_read'],
        read: body['m.read'],
        readPrivate: body['m.read.private'],
      });
      return {};
    },
  }),
];
