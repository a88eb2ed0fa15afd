import { PastStates } from '#src/services/sync/engine/past-states.ts';
import { SyncFilters } from '#src/services/sync/engine/sync-filter.ts';
import { EventEncoder } from '#src/services/sync/sections/event-encoder.ts';
import { TimelineReader } from '#src/services/sync/sections/timeline-window.ts';
import { VisibleTimelines } from '#src/services/sync/sections/visible-timelines.ts';
import { ConnectionStore } from '#src/services/sync/sliding/connection-store.ts';
import { LeftRooms } from '#src/services/sync/sliding/left-rooms.ts';
import { NotJoinedRooms } from '#src/services/sync/sliding/not-joined-rooms.ts';
import { ResolvedStates } from '#src/services/sync/sliding/resolved-state.ts';
import { RoomActivity } from '#src/services/sync/sliding/room-activity.ts';
import { RoomListings } from '#src/services/sync/sliding/room-lists.ts';
import { SlidingExtensions } from '#src/services/sync/sliding/sliding-extensions.ts';
import { SlidingRooms } from '#src/services/sync/sliding/sliding-rooms.ts';
import { SlidingSync } from '#src/services/sync/sliding/sliding-sync.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { PushRules } from './push-rules.ts';
import { type Sync, type SyncParts, timelineBytes } from './sync.ts';

/** Sliding sync (MSC4186). */
export interface SlidingSyncing {
  readonly slidingSync: SlidingSync;
}

/** The services that sliding sync uses. */
export type SlidingParts = Pick<Platform, 'random' | 'logger'> &
  SyncParts &
  Pick<PushRules, 'followedThreads'> &
  Pick<Sync, 'deviceListDeltas' | 'largeSyncs' | 'profileUpdates' | 'syncUsers'>;

export function composeSlidingSync(below: SlidingParts): Slice<SlidingSyncing> {
  const { accountData, clock, config, database, ephemeral, events, loader, random, rooms, stream } = below;
  const {
    deviceListDeltas: deltas,
    followedThreads,
    inboxes,
    keyCounts,
    largeSyncs,
    profileChanges,
    profileUpdates,
    receipts,
    syncUsers,
    timers,
    typing,
    writer,
  } = below;
  const { maxTimelineLimit: greatest } = config.sync;
  const timelines = new VisibleTimelines({
    timelines: new TimelineReader(database, loader),
    visibility: below.visibility,
    relations: below.aggregations,
    sticky: events.sticky,
    bytes: timelineBytes(config),
  });
  const states = new PastStates(database, below.states);
  const slidingSync = new SlidingSync({
    cacheBytes: config.cache.slidingSyncBytes,
    users: syncUsers,
    writer,
    ephemeral,
    clock,
    listings: new RoomListings(rooms, new RoomActivity(clock, stream), clock),
    rooms,
    notJoinedRooms: new NotJoinedRooms({ database, rooms, loader, past: below.visibility.past, clock }),
    timers,
    logger: below.logger,
    random,
    accountData,
    slidingRooms: new SlidingRooms({
      mostBytes: below.config.sync.maxResponseBytes,
      loader,
      filters: new SyncFilters({ usual: greatest, greatest }),
      timelines,
      encoder: new EventEncoder(clock, stream),
      unread: below.unread,
      stripped: below.membership,
      left: new LeftRooms({
        loader,
        past: below.visibility.past,
        states,
      }),
      resolved: new ResolvedStates(states),
      rooms,
      states,
    }),
    extensions: new SlidingExtensions({
      inboxes,
      keyCounts,
      deltas,
      receipts,
      typing,
      followedThreads,
      profileChanges,
      profileUpdates,
      rooms,
    }),
    store: new ConnectionStore(database, clock),
    largeSyncs,
  });
  return {
    name: 'sliding sync',
    services: { slidingSync },
    idle: () => slidingSync.idle(),
    close: () => slidingSync.close(),
  };
}
