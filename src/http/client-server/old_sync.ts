import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { InitialSync } from '#src/services/sync/legacy/initial-sync.ts';
import type { EventLookup } from '#src/services/reading/history/event-lookup.ts';
import { endpoint, Reply } from '../endpoint.ts';
import { roomSnapshot, snapshotMembers } from './parts/room-snapshot.ts';
import { anyObject, clientEvent, jsonList, jsonReply, jsonText } from './parts/room-schemas.ts';

interface Services {
  readonly initialSync: InitialSync;
  readonly eventLookup: EventLookup;
}

export const oldSyncEndpoints = [
  endpoint({
    operationId: 'initialSync',
    summary: "Get the user's current state.",
    method: 'GET',
    path: '/_matrix/client/v3/initialSync',
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'sync',
    query: Type.Object({
      limit: Type.Optional(Type.Integer({ minimum: 0 })),
      archived: Type.Optional(Type.Boolean()),
    }),
    response: Type.Object({
      end: Type.String(),
      rooms: Type.Array(roomSnapshot),
      presence: Type.Array(anyObject),
      account_data: Type.Array(anyObject),
    }),
    errcodes: ['M_TOO_LARGE', 'M_LIMIT_EXCEEDED'],
    async handler({ initialSync }: Services, { info, requester, query }) {
      const all = await initialSync.all(requester, query.limit, query.archived ?? false, info.signal);
      const rooms: string[] = [];
      for await (const room of all.rooms) rooms.push(jsonText(snapshotMembers(room)));
      return jsonReply({
        end: JSON.stringify(all.end),
        rooms: jsonList(rooms),
        presence: jsonList(all.presence),
        account_data: jsonList(all.accountData),
      });
    },
  }),
  endpoint({
    operationId: 'getOneEvent',
    summary: 'Get a single event by event ID.',
    method: 'GET',
    path: '/_matrix/client/v3/events/{eventId}',
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    params: Type.Object({ eventId: Type.String() }),
    response: clientEvent,
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ eventLookup }: Services, { requester, params: { eventId } }) {
      return new Reply({ json: await eventLookup.event(requester, eventId) });
    },
  }),
];
