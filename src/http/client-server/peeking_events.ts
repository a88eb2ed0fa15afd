import { Type } from 'typebox';
import type { EventPolls } from '#src/services/sync/legacy/event-polls.ts';
import { endpoint } from '../endpoint.ts';
import { clientEvent, jsonList, jsonReply } from './parts/room-schemas.ts';

interface Services {
  readonly eventPolls: EventPolls;
}

export const peekingEventsEndpoints = [
  endpoint({
    // Without room_id it is getEvents of old_sync.yaml: the specification describes both on one path.
    operationId: 'peekEvents',
    summary: 'Listen on the event stream of a particular room, or of all rooms that one is in.',
    method: 'GET',
    path: '/_matrix/client/v3/events',
    auth: 'accessToken',
    guests: 'allowed',
    suspended: 'allowed',
    rateLimit: 'sync',
    longPoll: true,
    query: Type.Object({
      room_id: Type.Optional(Type.String()),
      from: Type.Optional(Type.String()),
      timeout: Type.Optional(Type.Integer()),
    }),
    response: Type.Object({ start: Type.String(), end: Type.String(), chunk: Type.Array(clientEvent) }),
    errcodes: ['M_FORBIDDEN', 'M_GUEST_ACCESS_FORBIDDEN', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ eventPolls }: Services, { requester, query: { room_id: roomId, from, timeout }, info }) {
      const { start, end, chunk } = await eventPolls.poll(requester, { roomId, from, timeout }, info.signal);
      return jsonReply({ start: JSON.stringify(start), end: JSON.stringify(end), chunk: jsonList(chunk) });
    },
  }),
];
