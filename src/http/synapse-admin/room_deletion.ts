import { Type } from 'typebox';
import type { Deletion, RoomDeletionParams, RoomDeletions } from '#src/services/admin/rooms/room-deletion.ts';
import { actorOf } from '../actor.ts';
import { roomParams } from '../client-server/parts/room-schemas.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';

const body = Type.Object({
  new_room_user_id: Type.Optional(Type.String()),
  room_name: Type.Optional(Type.String({ maxLength: 1_000 })),
  message: Type.Optional(Type.String({ maxLength: 20_000 })),
  block: Type.Optional(Type.Boolean()),
  purge: Type.Optional(Type.Boolean()),
  force_purge: Type.Optional(Type.Boolean()),
});

const shutdown = {
  kicked_users: Type.Array(Type.String()),
  failed_to_kick_users: Type.Array(Type.String()),
  local_aliases: Type.Array(Type.String()),
  new_room_id: Type.Union([Type.String(), Type.Null()]),
};

const status = {
  delete_id: Type.String(),
  room_id: Type.String(),
  status: Type.Union(['scheduled', 'active', 'complete', 'failed'].map((one) => Type.Literal(one))),
  error: Type.Optional(Type.String()),
  shutdown_room: Type.Object(shutdown),
};

interface Services {
  readonly roomDeletions: RoomDeletions;
}

interface DeletionBody {
  readonly new_room_user_id?: string;
  readonly room_name?: string;
  readonly message?: string;
  readonly block?: boolean;
  readonly purge?: boolean;
  readonly force_purge?: boolean;
}

/** Empty members are left out. */
const said = (text: string | undefined): string | undefined => (text === '' ? undefined : text);

const deletionParamsOf = (request: DeletionBody): RoomDeletionParams => ({
  newRoomUserId: request.new_room_user_id,
  roomName: said(request.room_name),
  message: said(request.message),
  block: request.block,
  purge: request.purge,
  forcePurge: request.force_purge,
});

/** Tools know no status for a cancelled deletion: they are told that it failed. */
const statusOf = ({ error, id, result, roomId, status: is }: Deletion) => {
  const shownError = is === 'cancelled' ? 'The deletion was cancelled.' : error;
  return {
    delete_id: id,
    room_id: roomId,
    status: is === 'cancelled' ? 'failed' : is,
    ...(shownError === undefined ? {} : { error: shownError }),
    shutdown_room: result,
  };
};

/** Synapse Admin API, "Delete Room API": all local members are removed. */
export const roomDeletionEndpoints = [
  endpoint({
    operationId: 'adminDeleteRoomNow',
    summary: 'Puts everybody out of a room and deletes it, before it answers.',
    method: 'DELETE',
    path: '/_synapse/admin/v1/rooms/{roomId}',
    ...OF_ADMINISTRATORS,
    memberEvents: ['join', 'leave'],
    params: roomParams,
    body,
    maxBodyBytes: BODY_BYTES.content,
    response: Type.Object(shutdown),
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_UNKNOWN', 'M_BAD_JSON', 'M_LIMIT_EXCEEDED'],
    handler: ({ roomDeletions }: Services, { requester, info, params: { roomId }, body: request }) =>
      roomDeletions.finish(actorOf(requester, info), roomId, deletionParamsOf(request as DeletionBody), info.signal),
  }),
  endpoint({
    operationId: 'adminDeleteRoom',
    summary: 'Has everybody put out of a room, and the room deleted.',
    method: 'DELETE',
    path: '/_synapse/admin/v2/rooms/{roomId}',
    ...OF_ADMINISTRATORS,
    memberEvents: ['join', 'leave'],
    params: roomParams,
    body,
    maxBodyBytes: BODY_BYTES.content,
    response: Type.Object({ delete_id: Type.String() }),
    errcodes: ['M_INVALID_PARAM', 'M_UNKNOWN', 'M_BAD_JSON', 'M_LIMIT_EXCEEDED'],
    handler: async ({ roomDeletions }: Services, { requester, info, params: { roomId }, body: request }) => ({
      delete_id: await roomDeletions.start(actorOf(requester, info), roomId, deletionParamsOf(request as DeletionBody)),
    }),
  }),
  endpoint({
    operationId: 'adminGetRoomDeletion',
    summary: 'Tells how far the deletion of a room has come.',
    method: 'GET',
    path: '/_synapse/admin/v2/rooms/delete_status/{deleteId}',
    ...OF_ADMINISTRATORS,
    params: Type.Object({ deleteId: Type.String() }),
    response: Type.Object(status),
    errcodes: ['M_NOT_FOUND'],
    handler: async ({ roomDeletions }: Services, { params: { deleteId } }) =>
      statusOf(await roomDeletions.get(deleteId)),
  }),
  endpoint({
    operationId: 'adminListRoomDeletions',
    summary: 'Tells how far the deletions of a room have come.',
    method: 'GET',
    path: '/_synapse/admin/v2/rooms/{roomId}/delete_status',
    ...OF_ADMINISTRATORS,
    params: roomParams,
    response: Type.Object({ results: Type.Array(Type.Object(status)) }),
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM'],
    handler: async ({ roomDeletions }: Services, { params: { roomId } }) => ({
      results: (await roomDeletions.ofRoom(roomId)).map(statusOf),
    }),
  }),
];
