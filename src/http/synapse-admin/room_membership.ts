import { Type } from 'typebox';
import type { RoomOperators } from '#src/services/admin/rooms/room-operators.ts';
import { actorOf } from '../actor.ts';
import { empty, roomIdAnswer } from '../client-server/parts/room-schemas.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';

const room = '/_synapse/admin/v1/rooms/{roomIdOrAlias}';
const params = Type.Object({ roomIdOrAlias: Type.String() });
const servers = Type.Optional(Type.Array(Type.String()));

interface Services {
  readonly roomOperators: RoomOperators;
}

/** Synapse Admin API, "Room Membership": administrators make users join rooms. */
export const roomMembershipAdminEndpoints = [
  endpoint({
    operationId: 'adminMakeRoomAdmin',
    summary: 'Gives a user as much power in a room as any user of this server has there, and invites them if need be.',
    method: 'POST',
    path: `${room}/make_room_admin`,
    ...OF_ADMINISTRATORS,
    memberEvents: ['invite'],
    params,
    body: Type.Object({ user_id: Type.Optional(Type.String()) }),
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_UNKNOWN', 'M_FORBIDDEN', 'M_BAD_JSON'],
    async handler({ roomOperators }: Services, { requester, info, params: { roomIdOrAlias }, body }) {
      await roomOperators.makeAdmin(actorOf(requester, info), roomIdOrAlias, body.user_id ?? requester.userId);
      return {};
    },
  }),
  endpoint({
    operationId: 'adminJoinRoom',
    summary: 'Has a user of this server join a room.',
    method: 'POST',
    path: '/_synapse/admin/v1/join/{roomIdOrAlias}',
    ...OF_ADMINISTRATORS,
    memberEvents: ['join', 'invite'],
    params,
    query: Type.Object({ server_name: servers, via: servers }),
    body: Type.Object({ user_id: Type.String() }),
    maxBodyBytes: BODY_BYTES.small,
    response: roomIdAnswer,
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_UNKNOWN', 'M_FORBIDDEN', 'M_BAD_JSON', 'M_MISSING_PARAM'],
    handler: async ({ roomOperators }: Services, { requester, info, params: { roomIdOrAlias }, query, body }) => ({
      room_id: await roomOperators.join(
        actorOf(requester, info),
        roomIdOrAlias,
        body.user_id,
        query.server_name ?? query.via,
      ),
    }),
  }),
  endpoint({
    operationId: 'adminListForwardExtremities',
    summary: 'Lists the events of a room that nothing comes after.',
    method: 'GET',
    path: `${room}/forward_extremities`,
    ...OF_ADMINISTRATORS,
    params,
    response: Type.Object({
      count: Type.Integer(),
      results: Type.Array(
        Type.Object({
          event_id: Type.String(),
          state_group: Type.Integer(),
          depth: Type.Integer(),
          received_ts: Type.Integer(),
        }),
      ),
    }),
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM'],
    async handler({ roomOperators }: Services, { params: { roomIdOrAlias } }) {
      const results = await roomOperators.extremities(roomIdOrAlias);
      return { count: results.length, results };
    },
  }),
  endpoint({
    operationId: 'adminDeleteForwardExtremities',
    summary: 'Leaves a room one event that nothing comes after.',
    method: 'DELETE',
    path: `${room}/forward_extremities`,
    ...OF_ADMINISTRATORS,
    params,
    response: Type.Object({ deleted: Type.Integer() }),
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_UNKNOWN'],
    handler: async ({ roomOperators }: Services, { requester, info, params: { roomIdOrAlias } }) => ({
      deleted: await roomOperators.mergeExtremities(actorOf(requester, info), roomIdOrAlias),
    }),
  }),
];
