import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { EventStream } from '#src/services/sync/legacy/event-stream.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { clientEvent, jsonList, jsonReply } from './room-schemas.ts';
import { type SessionEnds, SessionPolls } from './session-polls.ts';

export interface PeekingServices {
  readonly sessions: SessionEnds;
  readonly eventStream: EventStream;
  /** Longest wait for events, in milliseconds, whatever a client asks for. */
  readonly greatestTimeoutMs: number;
}

export const peekingEventsEndpoints = (services: PeekingServices): readonly Endpoint[] => {
  const polls = new SessionPolls(services.sessions);
  return [
    endpoint({
      // Without room_id it is getEvents of old_sync.yaml: the specification describes both on one path.
      operationId: 'peekEvents',
      summary: 'Listen on the event stream of a particular room, or of all rooms that one is in.',
      method: 'GET',
      path: '/_matrix/client/v3/events',
      auth: 'accessTokenOrGuest',
      rateLimit: 'sync',
      longPoll: true,
      query: Type.Object({
        room_id: Type.Optional(Type.String()),
        from: Type.Optional(Type.String()),
        timeout: Type.Optional(Type.Integer()),
      }),
      response: Type.Object({ start: Type.String(), end: Type.String(), chunk: Type.Array(clientEvent) }),
      errors: ['M_FORBIDDEN', 'M_GUEST_ACCESS_FORBIDDEN', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
      async handle({ requester, query: { room_id: roomId, from, timeout }, info }) {
        if (roomId === undefined && requester.isGuest)
          throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests can listen to one room only: name it as room_id.');
        const wait = Math.min(Math.max(timeout ?? 0, 0), services.greatestTimeoutMs);
        const { start, end, chunk } = await polls.wait(requester, info.signal, (signal) =>
          services.eventStream.read(requester, { roomId, from, timeout: wait, signal }),
        );
        return jsonReply({ start: JSON.stringify(start), end: JSON.stringify(end), chunk: jsonList(chunk) });
      },
    }),
  ];
};
