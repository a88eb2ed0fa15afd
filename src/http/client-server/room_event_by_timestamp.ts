import { Type } from 'typebox';
import type { EventByTime } from '#src/services/reading/history/event-by-time.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { roomParams } from './room-schemas.ts';

export const roomEventByTimestampEndpoints = (services: { readonly eventByTime: EventByTime }): readonly Endpoint[] => [
  endpoint({
    operationId: 'getEventByTimestamp',
    summary: 'Get the closest event ID to the given timestamp',
    method: 'GET',
    path: '/_matrix/client/v1/rooms/{roomId}/timestamp_to_event',
    auth: 'accessToken',
    rateLimit: 'default',
    params: roomParams,
    query: Type.Object({
      ts: Type.Integer({ minimum: -Number.MAX_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER }),
      dir: Type.Union([Type.Literal('f'), Type.Literal('b')]),
    }),
    response: Type.Object({ event_id: Type.String(), origin_server_ts: Type.Integer() }),
    errors: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INVALID_PARAM', 'M_MISSING_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { roomId }, query: { ts, dir } }) {
      const { eventId, ts: found } = await services.eventByTime.nearest(roomId, requester.userId, ts, dir);
      return { event_id: eventId, origin_server_ts: found };
    },
  }),
];
