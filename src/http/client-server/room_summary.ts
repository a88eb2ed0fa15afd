import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { RoomSummaries } from '#src/services/rooms/directory/room-summaries.ts';
import { endpoint } from '../endpoint.ts';
import { roomSummary } from './parts/room-schemas.ts';

const unstable = '/_matrix/client/unstable/im.nheko.summary';

interface Services {
  readonly roomSummaries: RoomSummaries;
}

export const roomSummaryEndpoints = [
  endpoint({
    operationId: 'getRoomSummary',
    summary: 'Retrieves a summary for a room',
    method: 'GET',
    path: '/_matrix/client/v1/room_summary/{roomIdOrAlias}',
    aliases: [`${unstable}/summary/{roomIdOrAlias}`, `${unstable}/rooms/{roomIdOrAlias}/summary`],
    auth: 'optionalToken',
    guests: { allowed: 'it is open without any token' },
    suspended: READS,
    rateLimit: 'default',
    params: Type.Object({ roomIdOrAlias: Type.String() }),
    query: Type.Object({ via: Type.Optional(Type.Array(Type.String())) }),
    response: Type.Object({ ...roomSummary, membership: Type.Optional(Type.String()) }, { additionalProperties: true }),
    errcodes: [
      'M_NOT_FOUND',
      'M_INVALID_PARAM',
      'M_FORBIDDEN',
      'M_CONNECTION_FAILED',
      'M_CONNECTION_TIMEOUT',
      'M_LIMIT_EXCEEDED',
    ],
    async handler(
      { roomSummaries }: Services,
      { requester, params: { roomIdOrAlias }, query: { via }, info: { path } },
    ) {
      const summary = await roomSummaries.summary(roomIdOrAlias, requester?.userId, via);
      if (!path.startsWith(unstable)) return summary;
      // MSC3266 had names of its own for what was new in it.
      const { room_version: version, encryption } = summary;
      return {
        ...summary,
        ...(version === undefined
          ? {}
          : { 'im.nheko.summary.room_version': version, 'im.nheko.summary.version': version }),
        ...(encryption === undefined ? {} : { 'im.nheko.summary.encryption': encryption }),
      };
    },
  }),
];
