import { DeviceListDeltas } from '#src/services/sync/device-lists/device-list-deltas.ts';
import { KeyChanges } from '#src/services/sync/device-lists/key-changes.ts';
import { LargeSyncs } from '#src/services/sync/engine/large-syncs.ts';
import { PastStates } from '#src/services/sync/engine/past-states.ts';
import { RejoinedRooms } from '#src/services/sync/engine/rejoined-rooms.ts';
import { SyncPlanner } from '#src/services/sync/engine/plan.ts';
import type { Section } from '#src/services/sync/engine/section.ts';
import { SharedRoomCheck } from '#src/services/sync/engine/shared-room-check.ts';
import { SyncEngine } from '#src/services/sync/engine/sync-engine.ts';
import { SyncFilters } from '#src/services/sync/engine/sync-filter.ts';
import { SyncUsers } from '#src/services/sync/engine/sync-users.ts';
import { ProfileUpdates } from '#src/services/sync/profiles/profile-updates.ts';
import { AccountDataSection } from '#src/services/sync/sections/account-data.ts';
import { DeviceKeysSection } from '#src/services/sync/sections/device-keys.ts';
import { DeviceListsSection } from '#src/services/sync/sections/device-lists.ts';
import { EventEncoder } from '#src/services/sync/sections/event-encoder.ts';
import { PresenceSection } from '#src/services/sync/sections/presence.ts';
import { ProfilesSection } from '#src/services/sync/sections/profiles.ts';
import { ReceiptsSection } from '#src/services/sync/sections/receipts.ts';
import { RoomEventsSection } from '#src/services/sync/sections/room-events.ts';
import { StateReader } from '#src/services/sync/sections/state-window.ts';
import { StickySection } from '#src/services/sync/sections/sticky.ts';
import { StrippedStateSection, type StrippedStateSource } from '#src/services/sync/sections/stripped-state.ts';
import { TimelineReader } from '#src/services/sync/sections/timeline-window.ts';
import { ToDeviceSection } from '#src/services/sync/sections/to-device.ts';
import { TypingSection } from '#src/services/sync/sections/typing.ts';
import { UnreadSection } from '#src/services/sync/sections/unread.ts';
import { V3Sync } from '#src/services/sync/v3/v3-sync.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';
import type { Encryption } from './e2ee.ts';
import type { Ephemeral } from './ephemeral.ts';
import type { EventStreaming } from './event-stream.ts';
import type { Events } from './events.ts';
import type { Listeners } from './listeners.ts';
import type { Push } from './push.ts';
import type { Reading } from './reading.ts';
import type { RoomModel } from './room-model.ts';
import type { UserData } from './user-data.ts';
import type { Users } from './users.ts';

/** /sync and the WebSocket API. */
export interface Sync {
  readonly syncEngine: SyncEngine;
  readonly largeSyncs: LargeSyncs;
  readonly sync: V3Sync;
  /** The open syncs, and how they are woken. */
  readonly syncUsers: SyncUsers;
  readonly keyChanges: KeyChanges;
  readonly deviceListDeltas: DeviceListDeltas;
  readonly profileUpdates: ProfileUpdates;
}

/** The services that the sections of sync use. */
export type SyncParts = Pick<Platform, 'clock' | 'database' | 'timers'> & {
  readonly config: Pick<Platform['config'], 'cache' | 'serverName' | 'sync'>;
  readonly membership: StrippedStateSource;
} & Commit &
  Pick<Users, 'profileChanges'> & { readonly profiles: Pick<Users['profiles'], 'profilesOf'> } & Pick<
    UserData,
    'accountData'
  > &
  RoomModel &
  EventStreaming &
  Pick<Events, 'events'> &
  Pick<Reading, 'aggregations' | 'visibility'> &
  Pick<Encryption, 'deviceListChanges' | 'inboxes' | 'keyCounts' | 'toDevice'> &
  Pick<Push, 'receipts' | 'unread'> &
  Ephemeral;

/** Makes additional sections. */
export type MoreSections = (parts: SyncParts) => readonly Section[];

/** The maximum sizes of timelines. */
export const timelineBytes = ({ sync }: Pick<Platform['config'], 'sync'>): { timeline: number; response: number } => ({
  timeline: sync.maxTimelineBytes,
  response: sync.maxResponseBytes,
});

/**
 * All sections of sync, in the order in which they are written. A new stream is a line here.
 *
 * @param states those that rooms had at positions
 */
const sectionsOf = (
  below: SyncParts,
  states: PastStates,
  deltas: DeviceListDeltas,
  updates: ProfileUpdates,
  companions: SharedRoomCheck,
): readonly Section[] => {
  const { clock, database, events, interner, loader, stream } = below;
  const encoder = new EventEncoder(clock, stream);
  const roomEvents = new RoomEventsSection({
    clock,
    stream,
    loader,
    interner,
    timelines: new TimelineReader(database, loader),
    states: new StateReader(states),
    visibility: below.visibility,
    relations: below.aggregations,
    sticky: events.sticky,
    encoder,
    bytes: timelineBytes(below.config),
  });
  return [
    new StrippedStateSection(below.membership),
    roomEvents,
    new StickySection(roomEvents, encoder, below.visibility),
    new ReceiptsSection(below.receipts),
    new TypingSection(below.typing),
    new AccountDataSection(below.accountData),
    new UnreadSection(below.unread),
    new PresenceSection(below.presence, companions, below.rooms),
    new ToDeviceSection(below.inboxes, below.toDevice.arrived),
    new DeviceListsSection(deltas, below.deviceListChanges.changed),
    new ProfilesSection({
      updates,
      changed: below.profileChanges.changed,
      deltas,
      timelines: roomEvents,
      rooms: below.rooms,
    }),
    new DeviceKeysSection(below.keyCounts),
  ];
};

export function composeSync(
  below: SyncParts & Pick<Listeners, 'turns'> & { readonly moreSections?: MoreSections | undefined },
): Slice<Sync> {
  const { accountData, config, database, ephemeral, interner, loader, rooms, stream, timers, writer } = below;
  const { moreSections = () => [] } = below;
  const { defaultTimelineLimit: usual, maxTimelineLimit: greatest } = config.sync;
  const syncUsers = new SyncUsers({ database, interner, rooms, stream });
  const states = new PastStates(database, below.states);
  const companions = new SharedRoomCheck({ database, interner, rooms });
  const deltas = new DeviceListDeltas({
    changes: below.deviceListChanges,
    rooms,
    past: below.visibility.past,
    companions,
  });
  const profileUpdates = new ProfileUpdates(below.profiles, below.profileChanges, companions, rooms, config.serverName);
  const largeSyncs = new LargeSyncs(below.turns);
  const syncEngine = new SyncEngine({
    mostBytes: config.sync.maxResponseBytes,
    largeSyncs,
    users: syncUsers,
    writer,
    ephemeral,
    timers,
    filters: new SyncFilters({ usual, greatest }),
    planner: new SyncPlanner({
      database,
      rooms,
      loader,
      states,
      past: below.visibility.past,
      rejoined: new RejoinedRooms({ loader, interner, states }),
    }),
    accountData,
    sections: [...moreSections(below), ...sectionsOf(below, states, deltas, profileUpdates, companions)],
  });
  const keyChanges = new KeyChanges(syncUsers, deltas);
  return {
    name: 'sync',
    services: {
      largeSyncs,
      syncEngine,
      sync: new V3Sync(syncEngine),
      syncUsers,
      keyChanges,
      deviceListDeltas: deltas,
      profileUpdates,
    },
  };
}
