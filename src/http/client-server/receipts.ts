import { Type } from 'typebox';
import type { ReadMarkerService } from '#src/services/push/receipts/read-marker-service.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { empty } from './parts/auth-schemas.ts';

interface Services {
  readonly readMarkers: ReadMarkerService;
}

export const receiptsEndpoints = [
  endpoint({
    operationId: 'postReceipt',
    summary: 'Send a receipt for the given event ID.',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}',
    auth: 'accessToken',
    guests: 'refused',
    suspended: {
      allowed: 'users may still read, and unread counts go by it; it says nothing but how far the user has read',
    },
    rateLimit: 'default',
    params: Type.Object({ roomId: Type.String(), receiptType: Type.String(), eventId: Type.String() }),
    body: Type.Object(
      {
        thread_id: Type.Optional(
          Type.Unknown({ description: '`main` or the event ID of the thread root; absent: unthreaded.' }),
        ),
      },
      { additionalProperties: true },
    ),
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    errcodes: ['M_INVALID_PARAM', 'M_FORBIDDEN', 'M_NOT_FOUND', 'M_NOT_JSON', 'M_BAD_JSON', 'M_LIMIT_EXCEEDED'],
    async handler({ readMarkers }: Services, { requester, params: { roomId, receiptType, eventId }, body }) {
      await readMarkers.send(requester.userId, roomId, receiptType, eventId, body.thread_id);
      return {};
    },
  }),
];
