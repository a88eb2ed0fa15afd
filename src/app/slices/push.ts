import { NotificationList } from '#src/services/push/notifications/notification-list.ts';
import { PusherService } from '#src/services/push/pushers/pusher-service.ts';
import { ReadMarkerService } from '#src/services/push/receipts/read-marker-service.ts';
import { ReceiptService } from '#src/services/push/receipts/receipt-service.ts';
import { ThreadSubscriptionService } from '#src/services/push/threads/thread-subscription-service.ts';
import { UnreadCounts } from '#src/services/push/unread/unread-counts.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';
import type { EventStreaming } from './event-stream.ts';
import type { Events } from './events.ts';
import type { PushRules } from './push-rules.ts';
import type { Reading } from './reading.ts';
import type { RoomModel } from './room-model.ts';
import type { Users } from './users.ts';
import type { UserData } from './user-data.ts';

/** What users are notified of, and what they have read. */
export interface Push {
  readonly receipts: ReceiptService;
  readonly readMarkers: ReadMarkerService;
  readonly unread: UnreadCounts;
  readonly notificationList: NotificationList;
  readonly pushers: PusherService;
  readonly threadSubscriptions: ThreadSubscriptionService;
}

export function composePush(
  below: Platform & Commit & Users & UserData & RoomModel & PushRules & EventStreaming & Events & Reading,
): Slice<Push> {
  const { access, accountData, clientEvents, clock, config, database, events, finder, followedThreads } = below;
  const { ignoredUsers, interner } = below;
  const { loader, pushRules, relationIndex, rooms, stream, userActions, writer } = below;
  const { quotas } = config;
  const receipts = new ReceiptService({
    database,
    interner,
    writer,
    events,
    clock,
    mostThreads: quotas.threadReceipts,
  });
  return {
    name: 'push',
    services: {
      receipts,
      readMarkers: new ReadMarkerService({
        rooms,
        events,
        receipts,
        accountData,
        threads: relationIndex,
        actions: userActions,
      }),
      unread: new UnreadCounts({
        database,
        interner,
        events,
        stream,
        receipts,
        pushRules,
        followedThreads,
        ignoredUsers,
      }),
      notificationList: new NotificationList({
        database,
        interner,
        loader,
        writer,
        rooms,
        pushRules,
        receipts,
        ignoredUsers,
        clientEvents,
      }),
      threadSubscriptions: new ThreadSubscriptionService({ access, finder, followed: followedThreads }),
      pushers: new PusherService({ database, clock, most: quotas.pushers }),
    },
  };
}
