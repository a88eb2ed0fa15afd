import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { NotificationList } from '#src/services/push/notifications/notification-list.ts';
import { endpoint } from '../endpoint.ts';
import { clientEvent, jsonList, jsonReply } from './parts/room-schemas.ts';

interface Services {
  readonly notificationList: NotificationList;
}

export const notificationsEndpoints = [
  endpoint({
    operationId: 'getNotifications',
    summary: 'Gets a list of events that the user has been notified about',
    method: 'GET',
    path: '/_matrix/client/v3/notifications',
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    query: Type.Object({
      from: Type.Optional(Type.String()),
      limit: Type.Optional(Type.Integer({ minimum: 1 })),
      only: Type.Optional(Type.String()),
    }),
    response: Type.Object({
      next_token: Type.Optional(Type.String()),
      notifications: Type.Array(
        Type.Object({
          actions: Type.Array(Type.Unknown()),
          event: clientEvent,
          read: Type.Boolean(),
          room_id: Type.String(),
          ts: Type.Integer(),
        }),
      ),
    }),
    errcodes: ['M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ notificationList }: Services, { requester, query }) {
      const { notifications, next } = await notificationList.page(requester, query);
      const entries = notifications.map(
        ({ actions, event, read, roomId, ts }) =>
          `{"actions":${JSON.stringify(actions)},"event":${event},"read":${read},"room_id":${JSON.stringify(roomId)},"ts":${ts}}`,
      );
      return jsonReply({
        next_token: next === undefined ? undefined : JSON.stringify(next),
        notifications: jsonList(entries),
      });
    },
  }),
];
