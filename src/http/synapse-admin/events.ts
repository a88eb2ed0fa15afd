import { Type } from 'typebox';
import type { StoredEvents } from '#src/services/admin/rooms/stored-events.ts';
import { anyObject } from '../client-server/parts/room-schemas.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';

interface Services {
  readonly storedEvents: StoredEvents;
}

export const eventAdminEndpoints = [
  endpoint({
    operationId: 'adminFetchEvent',
    summary: 'Tells an event as this server has it: the PDU.',
    method: 'GET',
    path: '/_synapse/admin/v1/fetch_event/{eventId}',
    ...OF_ADMINISTRATORS,
    params: Type.Object({ eventId: Type.String() }),
    response: Type.Object({ event: anyObject }),
    errcodes: ['M_NOT_FOUND'],
    handler: async ({ storedEvents }: Services, { params: { eventId } }) => ({
      event: await storedEvents.fetch(eventId),
    }),
  }),
];
