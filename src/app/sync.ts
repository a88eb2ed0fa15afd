import type { EventService } from '#src/services/events/stream/event-service.ts';
import { PastStates } from '#src/services/sync/engine/past-states.ts';
import { PastStays } from '#src/services/sync/engine/past-stays.ts';
import { SyncPlanner } from '#src/services/sync/engine/plan.ts';
import type { Section } from '#src/services/sync/engine/section.ts';
import { SyncEngine } from '#src/services/sync/engine/sync-engine.ts';
import { SyncFilters } from '#src/services/sync/engine/sync-filter.ts';
import { SyncUsers } from '#src/services/sync/engine/sync-users.ts';
import { AccountDataSection } from '#src/services/sync/sections/account-data.ts';
import { EventEncoder } from '#src/services/sync/sections/event-encoder.ts';
import { PresenceSection } from '#src/services/sync/sections/presence.ts';
import { ReceiptsSection } from '#src/services/sync/sections/receipts.ts';
import { RoomEventsSection } from '#src/services/sync/sections/room-events.ts';
import { StateReader } from '#src/services/sync/sections/state-window.ts';
import { StickySection } from '#src/services/sync/sections/sticky.ts';
import { StrippedStateSection, type StrippedStateSource } from '#src/services/sync/sections/stripped-state.ts';
import { TimelineReader } from '#src/services/sync/sections/timeline-window.ts';
import { TypingSection } from '#src/services/sync/sections/typing.ts';
import { UnreadSection } from '#src/services/sync/sections/unread.ts';
import { V3Sync } from '#src/services/sync/v3/v3-sync.ts';
import type { Platform } from './platform.ts';
import type { Rooms, RoomStore } from './rooms.ts';
import type { NotificationParts, UserData } from './user-data.ts';

/** What the sections of sync are made of. */
export interface SyncParts {
  readonly store: Pick<RoomStore, 'interner' | 'loader' | 'rooms' | 'states' | 'stream' | 'writer'>;
  readonly events: EventService;
  readonly rooms: Pick<Rooms, 'aggregations' | 'visibility'> & { readonly membership: StrippedStateSource };
  readonly accountData: NotificationParts['accountData'];
  readonly userData: Pick<UserData, 'ephemeral' | 'presence' | 'receipts' | 'typing' | 'unread'>;
}

/**
 * Everything that sync shows, in the order in which it is written. A new stream is a line here.
 *
 * @param states those that rooms had at positions
 */
const sectionsOf = (
  platform: Pick<Platform, 'database'>,
  { store, events, rooms, accountData, userData }: SyncParts,
  states: PastStates,
): readonly Section[] => {
  const { interner, loader } = store;
  const encoder = new EventEncoder(events.clock, store.stream);
  const roomEvents = new RoomEventsSection({
    loader,
    interner,
    timelines: new TimelineReader(platform.database, loader),
    states: new StateReader(states),
    visibility: rooms.visibility,
    relations: rooms.aggregations,
    sticky: events.sticky,
    encoder,
  });
  return [
    new StrippedStateSection(rooms.membership),
    roomEvents,
    new StickySection(roomEvents, encoder),
    new ReceiptsSection(userData.receipts),
    new TypingSection(userData.typing),
    new AccountDataSection(accountData),
    new UnreadSection(userData.unread),
    new PresenceSection(userData.presence),
  ];
};

/** Makes sections beside the usual ones. */
export type MoreSections = (parts: SyncParts) => readonly Section[];

/** The engine behind /sync and the WebSocket API. */
export function composeSync(
  platform: Pick<Platform, 'database' | 'timers'> & { readonly config: Pick<Platform['config'], 'sync'> },
  parts: SyncParts,
  more: MoreSections = () => [],
): { readonly engine: SyncEngine; readonly sync: V3Sync; readonly users: SyncUsers } {
  const { config, database, timers } = platform;
  const { defaultTimelineLimit: usual, maxTimelineLimit: greatest } = config.sync;
  const { store, rooms, accountData, userData } = parts;
  const { interner, loader } = store;
  const users = new SyncUsers({ database, ...store });
  const states = new PastStates(database, store.states);
  const engine = new SyncEngine({
    users,
    writer: store.writer,
    ephemeral: userData.ephemeral,
    timers,
    filters: new SyncFilters({ usual, greatest }),
    planner: new SyncPlanner({
      rooms: store.rooms,
      loader,
      states,
      past: rooms.visibility.past,
      stays: new PastStays({ loader, interner, states }),
    }),
    accountData,
    sections: [...more(parts), ...sectionsOf(platform, parts, states)],
  });
  return { engine, sync: new V3Sync(engine), users };
}
