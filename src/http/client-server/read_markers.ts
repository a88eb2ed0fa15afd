import { Type } from 'typebox';
import type { ReadMarkerService } from '#src/services/push/receipts/read-marker-service.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { empty } from './parts/auth-schemas.ts';

interface Services {
  readonly readMarkers: ReadMarkerService;
}

export const readMarkersEndpoints = [
  endpoint({
    operationId: 'setReadMarker',
    summary: 'Set the position of the read marker for a room.',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/read_markers',
    auth: 'accessToken',
    guests: 'refused',
    suspended: {
      allowed: 'users may still read, and unread counts go by it; it says nothing but how far the user has read',
    },
    rateLimit: 'default',
    params: Type.Object({ roomId: Type.String() }),
    body: Type.Object({
      'm.fully_read': Type.Optional(Type.String()),
      'm.read': Type.Optional(Type.String()),
      'm.read.private': Type.Optional(Type.String()),
    }),
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_NOT_JSON', 'M_BAD_JSON', 'M_LIMIT_EXCEEDED'],
    async handler({ readMarkers }: Services, { requester, params: { roomId }, body }) {
      await readMarkers.sendAll(requester.userId, roomId, {
        fullyRead: body['m.fully_read'],
        read: body['m.read'],
        readPrivate: body['m.read.private'],
      });
      return {};
    },
  }),
];
