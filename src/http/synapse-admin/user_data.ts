import { Type } from 'typebox';
import type { UserReads } from '#src/services/admin/users/user-reads.ts';
import { pusherData } from '#src/services/push/pushers/pusher-registry.ts';
import { endpoint } from '../endpoint.ts';
import { anyObject } from '../client-server/parts/room-schemas.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';
import { ACCOUNT_ERRORS, orNull, userParams } from './parts/users.ts';

const since = Type.Object({ from_ts: Type.Integer({ minimum: 0 }) });

interface Services {
  readonly userReads: UserReads;
}

/** Synapse Admin API, "User Admin API": the data of a user. */
export const userDataAdminEndpoints = [
  endpoint({
    operationId: 'adminListJoinedRooms',
    summary: 'The rooms in which a user of any server is.',
    method: 'GET',
    path: '/_synapse/admin/v1/users/{user_id}/joined_rooms',
    ...OF_ADMINISTRATORS,
    params: userParams,
    response: Type.Object({ joined_rooms: Type.Array(Type.String()), total: Type.Integer() }),
    errcodes: ['M_INVALID_PARAM'],
    async handler({ userReads }: Services, { params: { user_id: userId } }) {
      const rooms = await userReads.joinedRooms(userId);
      return { joined_rooms: rooms, total: rooms.length };
    },
  }),
  endpoint({
    operationId: 'adminListMemberships',
    summary: 'The membership of a user of any server in every room where there is or was one.',
    method: 'GET',
    path: '/_synapse/admin/v1/users/{user_id}/memberships',
    ...OF_ADMINISTRATORS,
    params: userParams,
    response: Type.Object({ memberships: Type.Record(Type.String(), Type.String()) }),
    errcodes: ['M_INVALID_PARAM'],
    handler: async ({ userReads }: Services, { params: { user_id: userId } }) => ({
      memberships: await userReads.memberships(userId),
    }),
  }),
  endpoint({
    operationId: 'adminGetAccountData',
    summary: "A user's account data.",
    method: 'GET',
    path: '/_synapse/admin/v1/users/{user_id}/accountdata',
    ...OF_ADMINISTRATORS,
    params: userParams,
    response: Type.Object({
      account_data: Type.Object({
        global: Type.Record(Type.String(), anyObject),
        rooms: Type.Record(Type.String(), Type.Record(Type.String(), anyObject)),
      }),
    }),
    errcodes: ACCOUNT_ERRORS,
    handler: async ({ userReads }: Services, { params: { user_id: userId } }) => ({
      account_data: await userReads.accountData(userId),
    }),
  }),
  endpoint({
    operationId: 'adminListPushers',
    summary: "A user's pushers.",
    method: 'GET',
    path: '/_synapse/admin/v1/users/{user_id}/pushers',
    ...OF_ADMINISTRATORS,
    params: userParams,
    response: Type.Object({
      pushers: Type.Array(
        Type.Object({
          app_display_name: Type.String(),
          app_id: Type.String(),
          data: anyObject,
          device_display_name: Type.String(),
          kind: Type.String(),
          lang: Type.String(),
          profile_tag: Type.String(),
          pushkey: Type.String(),
          enabled: Type.Boolean(),
          device_id: orNull(Type.String()),
        }),
      ),
      total: Type.Integer(),
    }),
    errcodes: ACCOUNT_ERRORS,
    async handler({ userReads }: Services, { params: { user_id: userId } }) {
      const pushers = (await userReads.pushers(userId)).map((pusher) => ({
        app_display_name: pusher.appDisplayName,
        app_id: pusher.appId,
        data: pusherData(pusher),
        device_display_name: pusher.deviceDisplayName,
        kind: pusher.kind,
        lang: pusher.lang,
        profile_tag: pusher.profileTag ?? '',
        pushkey: pusher.pushkey,
        enabled: pusher.enabled,
        device_id: pusher.deviceId,
      }));
      return { pushers, total: pushers.length };
    },
  }),
  endpoint({
    operationId: 'adminCountSentInvites',
    summary: 'How many invites a user has sent since a time.',
    method: 'GET',
    path: '/_synapse/admin/v1/users/{user_id}/sent_invite_count',
    ...OF_ADMINISTRATORS,
    params: userParams,
    query: since,
    response: Type.Object({ invite_count: Type.Integer() }),
    errcodes: ['M_INVALID_PARAM', 'M_MISSING_PARAM'],
    handler: async ({ userReads }: Services, { params: { user_id: userId }, query }) => ({
      invite_count: await userReads.invitesSent(userId, query.from_ts),
    }),
  }),
  endpoint({
    operationId: 'adminCountJoinedRooms',
    summary: 'How many rooms a user has joined since a time, also those that they have left again.',
    method: 'GET',
    path: '/_synapse/admin/v1/users/{user_id}/cumulative_joined_room_count',
    ...OF_ADMINISTRATORS,
    params: userParams,
    query: since,
    response: Type.Object({ cumulative_joined_room_count: Type.Integer() }),
    errcodes: ['M_INVALID_PARAM', 'M_MISSING_PARAM'],
    handler: async ({ userReads }: Services, { params: { user_id: userId }, query }) => ({
      cumulative_joined_room_count: await userReads.roomsJoined(userId, query.from_ts),
    }),
  }),
];
