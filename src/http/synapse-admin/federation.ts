import { Type } from 'typebox';
import {
  DESTINATION_ORDERS,
  type DestinationRow,
  type Destinations,
} from '#src/services/admin/servers/destinations.ts';
import { actorOf } from '../actor.ts';
import { empty } from '../client-server/parts/room-schemas.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';
import { direction, nextOffset, offsetQuery, pageOf } from './parts/pages.ts';
import { orNull } from './parts/users.ts';

const root = '/_synapse/admin/v1/federation/destinations';
const path = `${root}/{destination}`;
const params = Type.Object({ destination: Type.String() });
const shown = Type.Object({
  destination: Type.String(),
  retry_last_ts: Type.Integer(),
  retry_interval: Type.Integer(),
  failure_ts: orNull(Type.Integer()),
  last_successful_stream_ordering: orNull(Type.Integer()),
});
const nextToken = (next: number | undefined): string | undefined => (next === undefined ? undefined : String(next));

/** For a server that cannot be reached, tools compute the next attempt as the sum of these two. */
const bodyOf = ({ destination, position, retryAt, since }: DestinationRow) => ({
  destination,
  retry_last_ts: since ?? 0,
  retry_interval: since === null || retryAt === null ? 0 : Math.max(0, retryAt - since),
  failure_ts: since,
  last_successful_stream_ordering: position,
});

interface Services {
  readonly destinations: Destinations;
}

/** Other servers. */
export const federationAdminEndpoints = [
  endpoint({
    operationId: 'adminListDestinations',
    summary: 'Lists the other servers that this one knows of, and whether they can be reached.',
    method: 'GET',
    path: root,
    ...OF_ADMINISTRATORS,
    query: Type.Object({
      ...offsetQuery,
      /** A part of the name. */
      destination: Type.Optional(Type.String()),
      order_by: Type.Optional(Type.Enum([...DESTINATION_ORDERS])),
      dir: direction,
    }),
    response: Type.Object({
      destinations: Type.Array(shown),
      total: Type.Integer(),
      next_token: Type.Optional(Type.String()),
    }),
    errcodes: ['M_INVALID_PARAM'],
    async handler({ destinations }: Services, { query }) {
      const page = pageOf(query);
      const found = await destinations.list(query.destination, query.order_by ?? 'destination', {
        ...page,
        isDescending: query.dir === 'b',
      });
      const next = nextOffset(page, found.destinations.length, found.total);
      return { destinations: found.destinations.map(bodyOf), total: found.total, next_token: nextToken(next) };
    },
  }),
  endpoint({
    operationId: 'adminGetDestination',
    summary: 'Another server, and whether it can be reached.',
    method: 'GET',
    path,
    ...OF_ADMINISTRATORS,
    params,
    response: shown,
    errcodes: ['M_NOT_FOUND'],
    handler: async ({ destinations }: Services, { params: { destination } }) =>
      bodyOf(await destinations.get(destination)),
  }),
  endpoint({
    operationId: 'adminListDestinationRooms',
    summary: "Lists the rooms in which another server's users are.",
    method: 'GET',
    path: `${path}/rooms`,
    ...OF_ADMINISTRATORS,
    params,
    query: Type.Object({ ...offsetQuery, dir: direction }),
    response: Type.Object({
      rooms: Type.Array(Type.Object({ room_id: Type.String(), stream_ordering: Type.Integer() })),
      total: Type.Integer(),
      next_token: Type.Optional(Type.String()),
    }),
    errcodes: ['M_INVALID_PARAM', 'M_NOT_FOUND'],
    async handler({ destinations }: Services, { params: { destination }, query }) {
      const page = pageOf(query);
      const { rooms, total } = await destinations.rooms(destination, { ...page, isDescending: query.dir === 'b' });
      return {
        rooms: rooms.map(({ position, roomId }) => ({ room_id: roomId, stream_ordering: position })),
        total,
        next_token: nextToken(nextOffset(page, rooms.length, total)),
      };
    },
  }),
  endpoint({
    operationId: 'adminResetDestinationConnection',
    summary: 'Has a server that could not be reached tried again at once.',
    method: 'POST',
    path: `${path}/reset_connection`,
    ...OF_ADMINISTRATORS,
    params,
    response: empty,
    errcodes: ['M_NOT_FOUND', 'M_UNKNOWN'],
    async handler({ destinations }: Services, { requester, info, params: { destination } }) {
      await destinations.resetConnection(actorOf(requester, info), destination);
      return {};
    },
  }),
];
