import { Type } from 'typebox';
import { MEDIA_USAGE_ORDERS, type Statistics } from '#src/services/admin/statistics/statistics.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';
import { direction, nextOffset, offsetQuery, pageOf } from './parts/pages.ts';
import { orNull } from './parts/users.ts';

const timestamp = Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }));

interface Services {
  readonly statistics: Statistics;
}

type UserMedia = Awaited<ReturnType<Statistics['mediaByUser']>>['users'][number];

const bodyOf = ({ count, displayName, size, userId }: UserMedia) => ({
  user_id: userId,
  displayname: displayName,
  media_count: count,
  media_length: size,
});

export const statisticsEndpoints = [
  endpoint({
    operationId: 'adminGetUserMediaStatistics',
    summary: 'How much users have uploaded.',
    method: 'GET',
    path: '/_synapse/admin/v1/statistics/users/media',
    ...OF_ADMINISTRATORS,
    query: Type.Object({
      ...offsetQuery,
      order_by: Type.Optional(Type.Enum([...MEDIA_USAGE_ORDERS])),
      dir: direction,
      from_ts: timestamp,
      until_ts: timestamp,
      search_term: Type.Optional(Type.String()),
    }),
    response: Type.Object({
      users: Type.Array(
        Type.Object({
          user_id: Type.String(),
          displayname: orNull(Type.String()),
          media_count: Type.Integer(),
          media_length: Type.Integer(),
        }),
      ),
      total: Type.Integer(),
      next_token: Type.Optional(Type.Integer()),
    }),
    errcodes: ['M_INVALID_PARAM'],
    async handler({ statistics }: Services, { query }) {
      const page = pageOf(query);
      const { total, users } = await statistics.mediaByUser(
        { fromTs: query.from_ts, untilTs: query.until_ts, searchTerm: query.search_term },
        query.order_by ?? 'user_id',
        { ...page, isDescending: query.dir === 'b' },
      );
      return {
        users: users.map(bodyOf),
        total,
        next_token: nextOffset(page, users.length, total),
      };
    },
  }),
  endpoint({
    operationId: 'adminGetLargestRooms',
    summary: 'The rooms that take most space in the database, with an estimate of how much.',
    method: 'GET',
    path: '/_synapse/admin/v1/statistics/database/rooms',
    ...OF_ADMINISTRATORS,
    response: Type.Object({
      rooms: Type.Array(Type.Object({ room_id: Type.String(), estimated_size: Type.Integer() })),
    }),
    errcodes: [],
    handler: async ({ statistics }: Services) => ({
      rooms: (await statistics.roomsBySize()).map(({ roomId, size }) => ({ room_id: roomId, estimated_size: size })),
    }),
  }),
];
