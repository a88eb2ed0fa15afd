import { EmailPushers } from '#src/services/mail/digests/email-pushers.ts';
import { MissedMessages } from '#src/services/push/notifications/missed-messages.ts';
import { NotificationList } from '#src/services/push/notifications/notification-list.ts';
import { PusherRegistry } from '#src/services/push/pushers/pusher-registry.ts';
import { httpPushers, PusherService } from '#src/services/push/pushers/pusher-service.ts';
import { CountMarks } from '#src/services/push/receipts/count-marks.ts';
import { ReadMarkerService } from '#src/services/push/receipts/read-marker-service.ts';
import { ReceiptService } from '#src/services/push/receipts/receipt-service.ts';
import { ThreadSubscriptionService } from '#src/services/push/threads/thread-subscription-service.ts';
import { BadgeCounts } from '#src/services/push/unread/badge-counts.ts';
import { UnreadCounts } from '#src/services/push/unread/unread-counts.ts';
import { userCaches } from '../config/cache-shares.ts';
import type { Config } from '../config/config.ts';
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

/** Receipts, unread counts and notifications. */
export interface Push {
  readonly receipts: ReceiptService;
  readonly readMarkers: ReadMarkerService;
  readonly unread: UnreadCounts;
  /** The numbers on the badges of apps. */
  readonly badges: BadgeCounts;
  readonly notificationList: NotificationList;
  readonly missedMessages: MissedMessages;
  readonly pushers: PusherService;
  readonly threadSubscriptions: ThreadSubscriptionService;
  /** The pushers of users. */
  readonly pusherRegistry: PusherRegistry;
}

export function composePush(
  below: Platform & Commit & Users & UserData & RoomModel & PushRules & EventStreaming & Events & Reading,
): Slice<Push> {
  const { access, accountData, accountStream, clientEvents, clock, config, database, events, finder } = below;
  const { followedThreads, ignoredUsers, interner } = below;
  const { loader, pushRules, relationIndex, rooms, stream, userActions, writer } = below;
  const { quotas } = config;
  const pusherRegistry = new PusherRegistry(database, clock, accountStream);
  const receipts = new ReceiptService({
    database,
    marks: new CountMarks(clock, (userId) => pusherRegistry.has(userId)),
    interner,
    writer,
    events,
    clock,
    maxThreads: quotas.threadReceipts,
    cacheBytes: userCaches(config).receipts,
  });
  const unread = new UnreadCounts({
    database,
    interner,
    events,
    stream,
    receipts,
    pushRules,
    followedThreads,
    ignoredUsers,
    cacheBytes: config.cache.unreadBytes,
  });
  const notificationList = new NotificationList({
    database,
    interner,
    loader,
    writer,
    rooms,
    pushRules,
    receipts,
    ignoredUsers,
    clientEvents,
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
        shadowBans: below.shadowBans,
      }),
      unread,
      badges: new BadgeCounts({
        database,
        interner,
        rooms,
        loader,
        ignoredUsers,
        invitePermission: below.invitePermission,
        unread,
        byRoom: config.push.countUnreadBy === 'room',
      }),
      notificationList,
      missedMessages: new MissedMessages({ list: notificationList, rooms, loader }),
      threadSubscriptions: new ThreadSubscriptionService({ access, finder, followed: followedThreads }),
      pushers: new PusherService({
        database,
        clock,
        registry: pusherRegistry,
        kinds: [httpPushers(config.push.allowHttp), ...(sendsDigests(config) ? [new EmailPushers(database)] : [])],
        most: quotas.pushers,
      }),
      pusherRegistry,
    },
    start: () => pusherRegistry.load(),
  };
}

/** Whether users can be notified of missed messages by mail. */
const sendsDigests = ({ email }: Config): boolean => email.digests.enabled && email.smtpUrl !== null;
