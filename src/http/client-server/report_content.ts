import { Type } from 'typebox';
import type { ReportService } from '#src/services/rooms/reports/report-service.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { empty, roomParams } from './parts/room-schemas.ts';

const reasonRequired = Type.Object({ reason: Type.String() });

interface Services {
  readonly reports: ReportService;
}

export const reportContentEndpoints = [
  endpoint({
    operationId: 'reportRoom',
    summary: 'Report a room as inappropriate',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/report',
    auth: 'accessToken',
    guests: 'refused',
    suspended: { allowed: 'complaints go to the administrators of the server alone' },
    rateLimit: 'report',
    params: roomParams,
    body: reasonRequired,
    maxBodyBytes: BODY_BYTES.record,
    response: empty,
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ reports }: Services, { requester, params: { roomId }, body: { reason } }) {
      await reports.room(requester.userId, roomId, reason);
      return {};
    },
  }),
  endpoint({
    operationId: 'reportEvent',
    summary: 'Report an event in a joined room as inappropriate',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/report/{eventId}',
    auth: 'accessToken',
    guests: 'refused',
    suspended: { allowed: 'complaints go to the administrators of the server alone' },
    rateLimit: 'report',
    params: Type.Object({ roomId: Type.String(), eventId: Type.String() }),
    // Until v1.17 a score went along, from -100 (most offensive) to 0.
    body: Type.Object({
      reason: Type.Optional(Type.String()),
      score: Type.Optional(Type.Integer({ minimum: -100, maximum: 0 })),
    }),
    maxBodyBytes: BODY_BYTES.record,
    response: empty,
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ reports }: Services, { requester, params: { roomId, eventId }, body }) {
      await reports.event(requester.userId, roomId, eventId, body);
      return {};
    },
  }),
  endpoint({
    operationId: 'reportUser',
    summary: 'Report a user as inappropriate',
    method: 'POST',
    path: '/_matrix/client/v3/users/{userId}/report',
    auth: 'accessToken',
    guests: 'refused',
    suspended: { allowed: 'complaints go to the administrators of the server alone' },
    rateLimit: 'report',
    params: Type.Object({ userId: Type.String() }),
    body: reasonRequired,
    maxBodyBytes: BODY_BYTES.record,
    response: empty,
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ reports }: Services, { requester, params: { userId }, body: { reason } }) {
      await reports.user(requester.userId, userId, reason);
      return {};
    },
  }),
];
