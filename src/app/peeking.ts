import type { AccountDataService } from '#src/services/account-data/account-data-service.ts';
import { IgnoredUsers } from '#src/services/account-data/ignored-users.ts';
import type { EventService } from '#src/services/events/event-service.ts';
import { EventStream } from '#src/services/peeking/event-stream.ts';
import { InitialSync } from '#src/services/peeking/initial-sync.ts';
import { Invitations } from '#src/services/peeking/invitations.ts';
import { EventLookup } from '#src/services/rooms/event-lookup.ts';
import type { Platform } from './platform.ts';
import type { Rooms, RoomStore } from './rooms.ts';
import type { UserData } from './user-data.ts';

/** Looking into rooms, as members did before there was /sync, and as others do still. */
export interface Peeking {
  readonly eventStream: EventStream;
  readonly initialSync: InitialSync;
  readonly eventLookup: EventLookup;
}

export function composePeeking(
  platform: Pick<Platform, 'database' | 'timers'>,
  store: RoomStore,
  events: EventService,
  rooms: Rooms,
  userData: Pick<UserData, 'ephemeral' | 'presence'>,
  accountData: AccountDataService,
): Peeking {
  const { database, timers } = platform;
  const { interner, loader, writer } = store;
  const { access, clientEvents, history, roomState, visibility } = rooms;
  const invitations = new Invitations({ loader, accountData, ignoredUsers: new IgnoredUsers(accountData) });
  const eventStream = new EventStream({
    database,
    interner,
    loader,
    rooms: store.rooms,
    access,
    events,
    visibility,
    clientEvents,
    invitations,
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
  return { eventStream, initialSync, eventLookup: new EventLookup({ database, rooms: store.rooms, history }) };
}
