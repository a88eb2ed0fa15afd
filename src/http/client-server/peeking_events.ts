import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { SessionPolls } from '#src/services/accounts/sessions/session-polls.ts';
import type { EventStream } from '#src/services/sync/legacy/event-stream.ts';
import { endpoint } from '../endpoint.ts';
import { clientEvent, jsonList, jsonReply } from './parts/room-schemas.ts';

interface Services {
  readonly sessionPolls: SessionPolls;
  readonly eventStream: EventStream;
  /** Longest wait for events, in milliseconds, whatever a client asks for. */
  readonly greatestTimeoutMs: number;
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
    async handler(
      { eventStream, greatestTimeoutMs, sessionPolls }: Services,
      { requester, query: { room_id: roomId, from, timeout }, info },
    ) {
      if (roomId === undefined && requester.isGuest)
        throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests can listen to one room only: name it as room_id.');
      const wait = Math.min(Math.max(timeout ?? 0, 0), greatestTimeoutMs);
      const { start, end, chunk } = await sessionPolls.wait(requester, info.signal, (signal) =>
        eventStream.read(requester, { roomId, from, timeout: wait, signal }),
      );
      return jsonReply({ start: JSON.stringify(start), end: JSON.stringify(end), chunk: jsonList(chunk) });
    },
  }),
];
