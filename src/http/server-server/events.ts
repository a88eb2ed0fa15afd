import { Type } from 'typebox';
import type { HistoryAnswers } from '#src/services/federation/history/history-answers.ts';
import { anyObject, roomParams } from '../client-server/parts/room-schemas.ts';
import { endpoint, Reply } from '../endpoint.ts';

interface Services {
  readonly historyAnswers: HistoryAnswers;
}

const atEvent = Type.Object({ event_id: Type.String() });

/** Server-Server API, "Retrieving events" and "Timestamp to event". */
export const federationEventsEndpoints = [
  endpoint({
    operationId: 'getRoomState',
    summary: 'Get all the state of a given room.',
    method: 'GET',
    path: '/_matrix/federation/v1/state/{roomId}',
    auth: 'server',
    rateLimit: 'federation',
    params: roomParams,
    query: atEvent,
    response: Type.Object({ auth_chain: Type.Array(anyObject), pdus: Type.Array(anyObject) }),
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND'],
    async handler({ historyAnswers }: Services, { requester: { serverName }, params: { roomId }, query }) {
      return new Reply({ stream: await historyAnswers.state(serverName, roomId, query.event_id) });
    },
  }),
  endpoint({
    operationId: 'getRoomStateIds',
    summary: 'Get all the state event IDs of a given room.',
    method: 'GET',
    path: '/_matrix/federation/v1/state_ids/{roomId}',
    auth: 'server',
    rateLimit: 'federation',
    params: roomParams,
    query: atEvent,
    response: Type.Object({ auth_chain_ids: Type.Array(Type.String()), pdu_ids: Type.Array(Type.String()) }),
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND'],
    async handler({ historyAnswers }: Services, { requester: { serverName }, params: { roomId }, query }) {
      return new Reply({ json: await historyAnswers.stateIds(serverName, roomId, query.event_id) });
    },
  }),
  endpoint({
    operationId: 'getEvent',
    summary: 'Get a single event.',
    method: 'GET',
    path: '/_matrix/federation/v1/event/{eventId}',
    auth: 'server',
    rateLimit: 'federation',
    params: Type.Object({ eventId: Type.String() }),
    response: Type.Object({
      origin: Type.String(),
      origin_server_ts: Type.Integer(),
      pdus: Type.Array(anyObject),
    }),
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND'],
    async handler({ historyAnswers }: Services, { requester: { serverName }, params: { eventId } }) {
      return new Reply({ json: await historyAnswers.event(serverName, eventId) });
    },
  }),
  endpoint({
    operationId: 'getEventByTimestamp',
    summary: 'Get the closest event ID to the given timestamp.',
    method: 'GET',
    path: '/_matrix/federation/v1/timestamp_to_event/{roomId}',
    auth: 'server',
    rateLimit: 'federation',
    params: roomParams,
    query: Type.Object({ ts: Type.Integer(), dir: Type.Union([Type.Literal('f'), Type.Literal('b')]) }),
    response: Type.Object({ event_id: Type.String(), origin_server_ts: Type.Integer() }),
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND'],
    async handler({ historyAnswers }: Services, { requester: { serverName }, params: { roomId }, query }) {
      return historyAnswers.eventByTime(serverName, roomId, query.ts, query.dir);
    },
  }),
];
