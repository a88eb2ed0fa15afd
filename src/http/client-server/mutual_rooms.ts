import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { MutualRooms } from '#src/services/rooms/membership/mutual-rooms.ts';
import { endpoint } from '../endpoint.ts';

interface Services {
  readonly mutualRooms: MutualRooms;
}

export const mutualRoomsEndpoints = [
  endpoint({
    operationId: 'getMutualRooms',
    summary: 'Get the list of rooms that the user shares with another user',
    method: 'GET',
    path: '/_matrix/client/v1/mutual_rooms',
    aliases: ['/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms'],
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    query: Type.Object({
      user_id: Type.String(),
      from: Type.Optional(Type.String()),
      batch_token: Type.Optional(Type.String()),
    }),
    response: Type.Object({
      joined: Type.Array(Type.String()),
      count: Type.Integer(),
      next_batch: Type.Optional(Type.String()),
      next_batch_token: Type.Optional(Type.String()),
    }),
    errcodes: ['M_INVALID_PARAM', 'M_MISSING_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ mutualRooms }: Services, { requester, query: { user_id: other, from, batch_token: olderFrom } }) {
      const { roomIds, count, next } = await mutualRooms.page(requester.userId, other, from ?? olderFrom);
      // What the tokens were called before the specification had them, and are for matrix-js-sdk.
      return { joined: roomIds, count, ...(next === undefined ? {} : { next_batch: next, next_batch_token: next }) };
    },
  }),
];
