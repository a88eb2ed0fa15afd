import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import { IgnoredUsers } from '#src/services/user-data/account-data/ignored-users.ts';
import { EventStream } from '#src/services/sync/legacy/event-stream.ts';
import { InitialSync } from '#src/services/sync/legacy/initial-sync.ts';
import { Invitations } from '#src/services/sync/legacy/invitations.ts';
import { NotificationList } from '#src/services/push/notifications/notification-list.ts';
import type { PushRuleService } from '#src/services/push/rules/push-rule-service.ts';
import { EventLookup } from '#src/services/reading/history/event-lookup.ts';
import type { Platform } from './platform.ts';
import type { Rooms, RoomStore } from './rooms.ts';
import type { UserData } from './user-data.ts';

/** Looking into rooms, as members did before there was /sync, and as others do still; and at what they notified of. */
export interface Peeking {
  readonly eventStream: EventStream;
  readonly initialSync: InitialSync;
  readonly eventLookup: EventLookup;
  readonly notificationList: NotificationList;
}

export function composePeeking(
  platform: Pick<Platform, 'database' | 'timers'>,
  store: RoomStore,
  rooms: Rooms,
  userData: Pick<UserData, 'ephemeral' | 'presence' | 'receipts'>,
  { accountData, pushRules }: { readonly accountData: AccountDataService; readonly pushRules: PushRuleService },
): Peeking {
  const { database, timers } = platform;
  const { interner, loader, stream, writer } = store;
  const { access, clientEvents, history, roomState, visibility } = rooms;
  const ignoredUsers = new IgnoredUsers(accountData);
  const invitations = new Invitations({ loader, accountData, ignoredUsers });
  const eventStream = new EventStream({
    database,
    interner,
    loader,
    rooms: store.rooms,
    access,
    stream,
    visibility,
    clientEvents,
    invitations,
    ignoredUsers,
    writer,
    ephemeral: userData.ephemeral,
    timers,
  });
  const initialSync = new InitialSync({
    database,
    interner,
    rooms: store.rooms,
    access,
    history,
    roomState,
    clientEvents,
    accountData,
    presence: userData.presence,
    invitations,
    stream: eventStream,
  });
  const notificationList = new NotificationList({
    database,
    interner,
    loader,
    writer: store.writer,
    rooms: store.rooms,
    pushRules,
    receipts: userData.receipts,
    ignoredUsers,
    clientEvents,
  });
  const eventLookup = new EventLookup({ database, rooms: store.rooms, history });
  return { eventStream, initialSync, eventLookup, notificationList };
}
