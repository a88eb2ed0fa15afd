import { Type } from 'typebox';
import type { EventByTime } from '#src/services/reading/history/event-by-time.ts';
import type { History } from '#src/services/reading/history/history.ts';
import {
  contextAnswer,
  contextParams,
  contextQuery,
  contextReply,
  messagesAnswer,
  messagesQuery,
  messagesReply,
} from '../client-server/parts/history-answers.ts';
import { roomParams } from '../client-server/parts/room-schemas.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';

const room = '/_synapse/admin/v1/rooms/{roomId}';
const direction = Type.Optional(Type.Union([Type.Literal('b'), Type.Literal('f')]));

interface Services {
  readonly everyHistory: History;
  readonly everyEventByTime: EventByTime;
}

/** The history of rooms for administrators who look into a report: all of it, without history visibility. */
export const roomHistoryAdminEndpoints = [
  endpoint({
    operationId: 'adminGetRoomMessages',
    summary: 'Reads a page of the events of a room.',
    method: 'GET',
    path: `${room}/messages`,
    ...OF_ADMINISTRATORS,
    params: roomParams,
    query: messagesQuery,
    response: messagesAnswer,
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_NOT_JSON', 'M_BAD_JSON'],
    async handler({ everyHistory }: Services, { requester, params: { roomId }, query }) {
      return messagesReply(await everyHistory.messages(roomId, requester, { dir: 'f', ...query }));
    },
  }),
  endpoint({
    operationId: 'adminGetEventContext',
    summary: 'Reads what stands around an event.',
    method: 'GET',
    path: `${room}/context/{eventId}`,
    ...OF_ADMINISTRATORS,
    params: contextParams,
    query: contextQuery,
    response: contextAnswer,
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_NOT_JSON', 'M_BAD_JSON'],
    async handler({ everyHistory }: Services, { requester, params: { roomId, eventId }, query }) {
      return contextReply(await everyHistory.context(roomId, requester, eventId, query));
    },
  }),
  endpoint({
    operationId: 'adminGetEventByTimestamp',
    summary: 'Finds the event of a room that is nearest to a time.',
    method: 'GET',
    path: `${room}/timestamp_to_event`,
    ...OF_ADMINISTRATORS,
    params: roomParams,
    query: Type.Object({
      ts: Type.Integer({ minimum: -Number.MAX_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER }),
      dir: direction,
    }),
    response: Type.Object({ event_id: Type.String(), origin_server_ts: Type.Integer() }),
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_MISSING_PARAM'],
    async handler({ everyEventByTime }: Services, { requester, params: { roomId }, query: { ts, dir = 'f' } }) {
      const { eventId, ts: found } = await everyEventByTime.nearest(roomId, requester.userId, ts, dir);
      return { event_id: eventId, origin_server_ts: found };
    },
  }),
];
