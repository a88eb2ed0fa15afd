import { Type } from 'typebox';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { ReportService } from '#src/services/rooms/reports/report-service.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { empty, roomParams } from './room-schemas.ts';

const reasonRequired = Type.Object({ reason: Type.String() });

export const reportContentEndpoints = (services: { readonly reports: ReportService }): readonly Endpoint[] => [
  endpoint({
    operationId: 'reportRoom',
    summary: 'Report a room as inappropriate',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/report',
    auth: 'accessToken',
    rateLimit: 'report',
    params: roomParams,
    body: reasonRequired,
    response: empty,
    errors: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { roomId }, body: { reason } }) {
      await services.reports.room(requester.userId, roomId, reason);
      return {};
    },
  }),
  endpoint({
    operationId: 'reportEvent',
    summary: 'Report an event in a joined room as inappropriate',
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/report/{eventId}',
    auth: 'accessToken',
    rateLimit: 'report',
    params: Type.Object({ roomId: Type.String(), eventId: Type.String() }),
    // Until v1.17 a score went along, from -100 (most offensive) to 0.
    body: Type.Object({
      reason: Type.Optional(Type.String()),
      score: Type.Optional(Type.Integer({ minimum: -100, maximum: 0 })),
    }),
    response: empty,
    errors: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { roomId, eventId }, body }) {
      await services.reports.event(requester.userId, roomId, eventId, body);
      return {};
    },
  }),
  endpoint({
    operationId: 'reportUser',
    summary: 'Report a user as inappropriate',
    method: 'POST',
    path: '/_matrix/client/v3/users/{userId}/report',
    auth: 'accessToken',
    rateLimit: 'report',
    params: Type.Object({ userId: Type.String() }),
    body: reasonRequired,
    response: empty,
    errors: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { userId }, body: { reason } }) {
      if (!isUserId(userId)) throw new MatrixError('M_INVALID_PARAM', `${userId} is not a user id.`);
      await services.reports.user(requester.userId, userId, reason);
      return {};
    },
  }),
];
