import { setImmediate } from 'node:timers/promises';
import { Type } from 'typebox';
import type { InitialSync } from '#src/services/sync/legacy/initial-sync.ts';
import type { EventLookup } from '#src/services/reading/history/event-lookup.ts';
import { type Endpoint, endpoint, Reply } from '../endpoint.ts';
import { roomSnapshot, snapshotMembers } from './room_initial_sync.ts';
import { anyObject, clientEvent, jsonList, jsonReply } from './room-schemas.ts';

export const oldSyncEndpoints = (services: {
  readonly initialSync: InitialSync;
  readonly eventLookup: EventLookup;
}): readonly Endpoint[] => [
  endpoint({
    operationId: 'initialSync',
    summary: "Get the user's current state.",
    method: 'GET',
    path: '/_matrix/client/v3/initialSync',
    auth: 'accessToken',
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
    errors: ['M_LIMIT_EXCEEDED'],
    async handle({ requester, query }) {
      const all = await services.initialSync.all(requester, query.limit, query.archived ?? false);
      const rooms: string[] = [];
      for (const room of all.rooms) {
        rooms.push(jsonReply(snapshotMembers(room)).json?.toString() ?? '{}');
        // Somebody in large rooms is told megabytes: others have their turn in between.
        await setImmediate();
      }
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
    rateLimit: 'default',
    params: Type.Object({ eventId: Type.String() }),
    response: clientEvent,
    errors: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { eventId } }) {
      return new Reply({ json: await services.eventLookup.event(requester, eventId) });
    },
  }),
];
