import { Type } from 'typebox';
import type { InitialSync } from '#src/services/sync/legacy/initial-sync.ts';
import { endpoint, type Reply } from '../endpoint.ts';
import { jsonReply, roomParams } from './parts/room-schemas.ts';
import { roomSnapshot, snapshotMembers } from './parts/room-snapshot.ts';

interface Services {
  readonly initialSync: InitialSync;
}

export const roomInitialSyncEndpoints = [
  endpoint({
    operationId: 'roomInitialSync',
    summary: 'Snapshot the current state of a room and its most recent messages.',
    method: 'GET',
    path: '/_matrix/client/v3/rooms/{roomId}/initialSync',
    auth: 'accessToken',
    guests: 'allowed',
    suspended: 'allowed',
    rateLimit: 'default',
    params: roomParams,
    query: Type.Object({ limit: Type.Optional(Type.Integer({ minimum: 0 })) }),
    response: roomSnapshot,
    errcodes: ['M_TOO_LARGE', 'M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    async handler({ initialSync }: Services, { requester, params: { roomId }, query }): Promise<Reply> {
      return jsonReply(snapshotMembers(await initialSync.room(requester, roomId, query.limit)));
    },
  }),
];
