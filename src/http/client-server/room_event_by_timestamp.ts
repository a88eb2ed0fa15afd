import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { EventByTime } from '#src/services/reading/history/event-by-time.ts';
import { endpoint } from '../endpoint.ts';
import { roomParams } from './parts/room-schemas.ts';

interface Services {
  readonly eventByTime: EventByTime;
}

export const roomEventByTimestampEndpoints = [
  endpoint({
    operationId: 'getEventByTimestamp',
    summary: 'Get the closest event ID to the given timestamp',
    method: 'GET',
    path: '/_matrix/client/v1/rooms/{roomId}/timestamp_to_event',
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    params: roomParams,
    query: Type.Object({
      ts: Type.Integer({ minimum: -Number.MAX_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER }),
      dir: Type.Union([Type.Literal('f'), Type.Literal('b')]),
    }),
    response: Type.Object({ event_id: Type.String(), origin_server_ts: Type.Integer() }),
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INVALID_PARAM', 'M_MISSING_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ eventByTime }: Services, { requester, params: { roomId }, query: { ts, dir } }) {
      const { eventId, ts: found } = await eventByTime.nearest(roomId, requester.userId, ts, dir);
      return { event_id: eventId, origin_server_ts: found };
    },
  }),
];
