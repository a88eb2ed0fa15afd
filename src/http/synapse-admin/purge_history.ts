import { Type } from 'typebox';
import type { HistoryPurges } from '#src/services/admin/rooms/history-purges.ts';
import { actorOf } from '../actor.ts';
import { roomParams } from '../client-server/parts/room-schemas.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';

const purge = '/_synapse/admin/v1/purge_history/{roomId}';
const body = Type.Object({
  purge_up_to_event_id: Type.Optional(Type.String()),
  purge_up_to_ts: Type.Optional(Type.Integer()),
  delete_local_events: Type.Optional(Type.Boolean()),
});
const started = Type.Object({ purge_id: Type.String() });

interface Services {
  readonly historyPurges: HistoryPurges;
}

export const purgeHistoryEndpoints = [
  endpoint({
    operationId: 'adminPurgeHistory',
    summary: 'Has the old part of a room taken away: what comes before an event, or was sent before a time.',
    method: 'POST',
    path: purge,
    ...OF_ADMINISTRATORS,
    params: roomParams,
    body,
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.small,
    response: started,
    errcodes: ['M_NOT_FOUND', 'M_UNKNOWN', 'M_BAD_JSON', 'M_LIMIT_EXCEEDED'],
    handler: async ({ historyPurges }: Services, { requester, info, params: { roomId }, body: request }) => ({
      purge_id: await historyPurges.start(actorOf(requester, info), roomId, {
        eventId: request.purge_up_to_event_id,
        ts: request.purge_up_to_ts,
        deletesLocal: request.delete_local_events ?? false,
      }),
    }),
  }),
  endpoint({
    operationId: 'adminPurgeHistoryBefore',
    summary: 'Has what comes before an event of a room taken away.',
    method: 'POST',
    path: `${purge}/{eventId}`,
    ...OF_ADMINISTRATORS,
    params: Type.Object({ roomId: Type.String(), eventId: Type.String() }),
    body,
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.small,
    response: started,
    errcodes: ['M_NOT_FOUND', 'M_UNKNOWN', 'M_BAD_JSON', 'M_LIMIT_EXCEEDED'],
    handler: async ({ historyPurges }: Services, { requester, info, params: { roomId, eventId }, body: request }) => ({
      purge_id: await historyPurges.start(actorOf(requester, info), roomId, {
        eventId,
        deletesLocal: request.delete_local_events ?? false,
      }),
    }),
  }),
  endpoint({
    operationId: 'adminGetHistoryPurge',
    summary: 'Tells how far such a purge has come.',
    method: 'GET',
    path: '/_synapse/admin/v1/purge_history_status/{purgeId}',
    ...OF_ADMINISTRATORS,
    params: Type.Object({ purgeId: Type.String() }),
    response: Type.Object({
      status: Type.Union([Type.Literal('active'), Type.Literal('complete'), Type.Literal('failed')]),
      error: Type.Optional(Type.String()),
    }),
    errcodes: ['M_NOT_FOUND'],
    async handler({ historyPurges }: Services, { params: { purgeId } }) {
      const { error, status } = await historyPurges.get(purgeId);
      if (status === 'cancelled') return { status: 'failed', error: 'The purge was cancelled.' };
      if (status !== 'complete' && status !== 'failed') return { status: 'active' };
      return { status, ...(error === undefined ? {} : { error }) };
    },
  }),
];
