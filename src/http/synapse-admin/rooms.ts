import { Type } from 'typebox';
import type { RoomBlocks } from '#src/services/admin/rooms/room-blocks.ts';
import type { ListedRoom, RoomList, RoomListPage, RoomOrder } from '#src/services/admin/rooms/room-list.ts';
import type { RoomState } from '#src/services/reading/state/room-state.ts';
import type { SpaceHierarchy } from '#src/services/rooms/spaces/space-hierarchy.ts';
import { actorOf } from '../actor.ts';
import {
  anyObject,
  clientEvent,
  jsonList,
  jsonReply,
  roomParams,
  roomSummary,
} from '../client-server/parts/room-schemas.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';

const rooms = '/_synapse/admin/v1/rooms';
const text = Type.Union([Type.String(), Type.Null()]);

/** Every field is always there: tools validate the answer with a strict schema. */
const listed = {
  room_id: Type.String(),
  name: text,
  canonical_alias: text,
  joined_members: Type.Integer(),
  joined_local_members: Type.Integer(),
  version: Type.String(),
  creator: Type.String(),
  encryption: text,
  federatable: Type.Boolean(),
  public: Type.Boolean(),
  join_rules: text,
  guest_access: text,
  history_visibility: text,
  state_events: Type.Integer(),
  room_type: text,
};

const bodyOf = (room: ListedRoom) => ({
  room_id: room.roomId,
  name: room.name,
  canonical_alias: room.canonicalAlias,
  joined_members: room.joined,
  joined_local_members: room.joinedLocal,
  version: room.version,
  creator: room.creator,
  encryption: room.encryption,
  federatable: room.federatable,
  public: room.isPublic,
  join_rules: room.joinRules,
  guest_access: room.guestAccess,
  history_visibility: room.historyVisibility,
  state_events: room.stateEvents,
  room_type: room.roomType,
});

const pageBody = ({ next, previous, rooms: found, total }: RoomListPage, offset: number) => ({
  rooms: found.map(bodyOf),
  offset,
  total_rooms: total,
  ...(next === undefined ? {} : { next_batch: next }),
  ...(previous === undefined ? {} : { prev_batch: previous }),
});

/** The orders; two of them have an older name as well. */
const ORDERS = {
  alphabetical: 'name',
  size: 'joined_members',
  name: 'name',
  canonical_alias: 'canonical_alias',
  joined_members: 'joined_members',
  joined_local_members: 'joined_local_members',
  version: 'version',
  creator: 'creator',
  encryption: 'encryption',
  federatable: 'federatable',
  public: 'public',
  join_rules: 'join_rules',
  guest_access: 'guest_access',
  history_visibility: 'history_visibility',
  state_events: 'state_events',
} as const satisfies Record<string, RoomOrder>;

interface Services {
  readonly roomList: RoomList;
  readonly roomBlocks: RoomBlocks;
  readonly everyRoomState: RoomState;
  readonly everyHierarchy: SpaceHierarchy;
}

/** Synapse Admin API, "Rooms API": lists and details of rooms, and which of them are blocked. */
const detailsOf = (room: Awaited<ReturnType<Services['roomList']['details']>>) => ({
  ...bodyOf(room),
  topic: room.topic,
  avatar: room.avatar,
  joined_local_devices: room.localDevices,
  forgotten: room.isForgotten,
  tombstoned: room.isTombstoned,
  replacement_room: room.replacement,
  ...(room.partial && {
    partial_state: {
      joined_via: room.partial.via,
      failed_server: room.partial.failure?.server ?? null,
      error: room.partial.failure?.error ?? null,
    },
  }),
});

export const roomAdminEndpoints = [
  endpoint({
    operationId: 'adminListRooms',
    summary: 'Lists the rooms of this server.',
    method: 'GET',
    path: rooms,
    ...OF_ADMINISTRATORS,
    query: Type.Object({
      from: Type.Optional(Type.Integer({ minimum: 0 })),
      limit: Type.Optional(Type.Integer({ minimum: 0 })),
      order_by: Type.Optional(
        Type.Union(Object.keys(ORDERS).map((order) => Type.Literal(order as keyof typeof ORDERS))),
      ),
      dir: Type.Optional(Type.Union([Type.Literal('f'), Type.Literal('b')])),
      search_term: Type.Optional(Type.String()),
      public_rooms: Type.Optional(Type.Boolean()),
      empty_rooms: Type.Optional(Type.Boolean()),
    }),
    response: Type.Object({
      rooms: Type.Array(Type.Object(listed)),
      offset: Type.Integer(),
      total_rooms: Type.Integer(),
      next_batch: Type.Optional(Type.Integer()),
      prev_batch: Type.Optional(Type.Integer()),
    }),
    errcodes: ['M_INVALID_PARAM'],
    async handler({ roomList }: Services, { query }) {
      const offset = query.from ?? 0;
      const page = await roomList.page({
        searchTerm: query.search_term,
        isPublic: query.public_rooms,
        isEmpty: query.empty_rooms,
        order: ORDERS[query.order_by ?? 'name'],
        isReversed: query.dir === 'b',
        offset,
        limit: query.limit ?? 100,
      });
      return pageBody(page, offset);
    },
  }),
  endpoint({
    operationId: 'adminGetRoom',
    summary: 'Tells everything that there is to say of a room.',
    method: 'GET',
    path: `${rooms}/{roomId}`,
    ...OF_ADMINISTRATORS,
    params: roomParams,
    response: Type.Object({
      ...listed,
      topic: text,
      avatar: text,
      joined_local_devices: Type.Integer(),
      forgotten: Type.Boolean(),
      tombstoned: Type.Boolean(),
      replacement_room: text,
      // Of a room whose full state is known, Synapse's own members alone are told.
      partial_state: Type.Optional(Type.Object({ joined_via: Type.String(), failed_server: text, error: text })),
    }),
    errcodes: ['M_NOT_FOUND'],
    async handler({ roomList }: Services, { params: { roomId } }) {
      return detailsOf(await roomList.details(roomId));
    },
  }),
  endpoint({
    operationId: 'adminListRoomMembers',
    summary: 'Lists the users who are in a room.',
    method: 'GET',
    path: `${rooms}/{roomId}/members`,
    ...OF_ADMINISTRATORS,
    params: roomParams,
    response: Type.Object({ members: Type.Array(Type.String()), total: Type.Integer() }),
    errcodes: ['M_NOT_FOUND'],
    async handler({ roomList }: Services, { params: { roomId } }) {
      const members = await roomList.members(roomId);
      return { members, total: members.length };
    },
  }),
  endpoint({
    operationId: 'adminGetRoomState',
    summary: 'Lists the state events of a room, all of them or those of one type.',
    method: 'GET',
    path: `${rooms}/{roomId}/state`,
    ...OF_ADMINISTRATORS,
    params: roomParams,
    query: Type.Object({ type: Type.Optional(Type.String()) }),
    response: Type.Object({ state: Type.Array(clientEvent) }),
    errcodes: ['M_NOT_FOUND'],
    async handler({ everyRoomState: roomState }: Services, { requester, params: { roomId }, query: { type } }) {
      const events = await roomState.all(roomId, requester.userId);
      const wanted = type === undefined || type === '' ? events : events.filter((event) => event.type === type);
      return jsonReply({ state: jsonList(await roomState.writeOf(roomId, requester.userId, wanted)) });
    },
  }),
  endpoint({
    operationId: 'adminGetRoomHierarchy',
    summary: 'Walks through the rooms below a space, as far as this server has them.',
    method: 'GET',
    path: `${rooms}/{roomId}/hierarchy`,
    ...OF_ADMINISTRATORS,
    params: roomParams,
    query: Type.Object({
      from: Type.Optional(Type.String()),
      limit: Type.Optional(Type.Integer({ minimum: 0 })),
      max_depth: Type.Optional(Type.Integer({ minimum: 0 })),
    }),
    response: Type.Object({
      rooms: Type.Array(Type.Object({ ...roomSummary, children_state: Type.Array(anyObject) })),
      next_batch: Type.Optional(Type.String()),
    }),
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM'],
    async handler({ everyHierarchy, roomList }: Services, { requester, params: { roomId }, query }) {
      await roomList.room(roomId);
      const { rooms: found, next } = await everyHierarchy.page(roomId, requester.userId, {
        suggestedOnly: false,
        maxDepth: query.max_depth,
        // With pages of length 0 a client would never reach the end.
        limit: query.limit === undefined ? undefined : Math.max(query.limit, 1),
        from: query.from,
      });
      return { rooms: found, ...(next === undefined ? {} : { next_batch: next }) };
    },
  }),
  endpoint({
    operationId: 'adminGetRoomBlock',
    summary: 'Tells whether a room is blocked on this server, and by which administrator.',
    method: 'GET',
    path: `${rooms}/{roomId}/block`,
    ...OF_ADMINISTRATORS,
    params: roomParams,
    response: Type.Object({ block: Type.Boolean(), user_id: Type.Optional(Type.String()) }),
    errcodes: ['M_INVALID_PARAM'],
    handler({ roomBlocks }: Services, { params: { roomId } }) {
      const userId = roomBlocks.blockedBy(roomId);
      return userId === undefined ? { block: false } : { block: true, user_id: userId };
    },
  }),
  endpoint({
    operationId: 'adminSetRoomBlock',
    summary: 'Blocks a room on this server, known or not, or unblocks it.',
    method: 'PUT',
    path: `${rooms}/{roomId}/block`,
    ...OF_ADMINISTRATORS,
    params: roomParams,
    body: Type.Object({ block: Type.Boolean() }),
    maxBodyBytes: BODY_BYTES.small,
    response: Type.Object({ block: Type.Boolean() }),
    errcodes: ['M_INVALID_PARAM', 'M_MISSING_PARAM', 'M_BAD_JSON'],
    async handler({ roomBlocks }: Services, { requester, info, params: { roomId }, body: { block } }) {
      await roomBlocks.set(actorOf(requester, info), roomId, block);
      return { block };
    },
  }),
];
