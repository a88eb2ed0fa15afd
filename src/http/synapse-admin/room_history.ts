import { Type } from 'typebox';
import { ADMINISTERS } from '#src/services/accounts/sessions/access-rules.ts';
import type { EventByTime } from '#src/services/reading/history/event-by-time.ts';
import type { History } from '#src/services/reading/history/history.ts';
import { roomFilter } from '../client-server/parts/room-filter.ts';
import { clientEvent, jsonList, jsonReply, roomParams } from '../client-server/parts/room-schemas.ts';
import { endpoint } from '../endpoint.ts';

const room = '/_synapse/admin/v1/rooms/{roomId}';
const access = { auth: 'admin', guests: 'refused', suspended: ADMINISTERS, rateLimit: 'default' } as const;
const direction = Type.Optional(Type.Union([Type.Literal('b'), Type.Literal('f')]));

interface Services {
  readonly everyHistory: History;
  readonly everyEventByTime: EventByTime;
}

/** What was said in rooms, for whoever looks into a report: all of it, whoever may see it there. */
export const roomHistoryAdminEndpoints = [
  endpoint({
    operationId: 'adminGetRoomMessages',
    summary: 'Reads a page of the events of a room.',
    method: 'GET',
    path: `${room}/messages`,
    ...access,
    params: roomParams,
    query: Type.Object({
      from: Type.Optional(Type.String()),
      to: Type.Optional(Type.String()),
      dir: direction,
      limit: Type.Optional(Type.Integer({ minimum: 0 })),
      filter: Type.Optional(roomFilter),
    }),
    response: Type.Object({
      start: Type.String(),
      end: Type.Optional(Type.String()),
      chunk: Type.Array(clientEvent),
      state: Type.Optional(Type.Array(clientEvent)),
    }),
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_NOT_JSON', 'M_BAD_JSON'],
    async handler({ everyHistory }: Services, { requester, params: { roomId }, query }) {
      const page = await everyHistory.messages(roomId, requester, { dir: 'f', ...query });
      return jsonReply({
        start: JSON.stringify(page.start),
        end: page.end === undefined ? undefined : JSON.stringify(page.end),
        chunk: jsonList(page.chunk),
        state: page.state === undefined ? undefined : jsonList(page.state),
      });
    },
  }),
  endpoint({
    operationId: 'adminGetEventContext',
    summary: 'Reads what stands around an event.',
    method: 'GET',
    path: `${room}/context/{eventId}`,
    ...access,
    params: Type.Object({ roomId: Type.String(), eventId: Type.String() }),
    query: Type.Object({ limit: Type.Optional(Type.Integer({ minimum: 0 })), filter: Type.Optional(roomFilter) }),
    response: Type.Object({
      start: Type.String(),
      end: Type.String(),
      event: clientEvent,
      events_before: Type.Array(clientEvent),
      events_after: Type.Array(clientEvent),
      state: Type.Array(clientEvent),
    }),
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_NOT_JSON', 'M_BAD_JSON'],
    async handler({ everyHistory }: Services, { requester, params: { roomId, eventId }, query }) {
      const context = await everyHistory.context(roomId, requester, eventId, query);
      return jsonReply({
        start: JSON.stringify(context.start),
        end: JSON.stringify(context.end),
        event: context.event,
        events_before: jsonList(context.before),
        events_after: jsonList(context.after),
        state: jsonList(context.state),
      });
    },
  }),
  endpoint({
    operationId: 'adminGetEventByTimestamp',
    summary: 'Finds the event of a room that is nearest to a time.',
    method: 'GET',
    path: `${room}/timestamp_to_event`,
    ...access,
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
