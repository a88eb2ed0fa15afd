import { EventEncoder } from '#src/services/sync/engine/event-encoder.ts';
import { RoomSections } from '#src/services/sync/engine/room-sections.ts';
import { StateReader } from '#src/services/sync/engine/state-window.ts';
import { SyncEngine } from '#src/services/sync/engine/sync-engine.ts';
import { SyncFilters } from '#src/services/sync/engine/sync-filter.ts';
import type { PersonalSource } from '#src/services/sync/engine/personal-sections.ts';
import { SyncUsers } from '#src/services/sync/engine/sync-users.ts';
import { TimelineReader } from '#src/services/sync/engine/timeline-window.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { Platform } from './platform.ts';
import type { Rooms, RoomStore } from './rooms.ts';

/** The engine behind /sync and the WebSocket API. */
export function composeSync(
  platform: Platform,
  store: RoomStore,
  events: EventService,
  rooms: Rooms,
  personal: Omit<PersonalSource, 'loader' | 'interner'>,
): { readonly sync: SyncEngine; readonly users: SyncUsers } {
  const { clock, config, database, timers } = platform;
  const { defaultTimelineLimit: usual, maxTimelineLimit: greatest } = config.sync;
  const { interner, loader } = store;
  const users = new SyncUsers({ database, ...store, ...personal });
  const states = new StateReader(database, store.states);
  const sections = new RoomSections({
    loader,
    interner,
    timelines: new TimelineReader(database, loader),
    states,
    visibility: rooms.visibility,
    relations: rooms.aggregations,
    sticky: events.sticky,
    encoder: new EventEncoder(clock, store.stream),
  });
  const sync = new SyncEngine({
    users,
    rooms: store.rooms,
    events,
    writer: store.writer,
    timers,
    filters: new SyncFilters({ usual, greatest }),
    sections,
    states,
    personal: { ...personal, loader, interner },
    stripped: rooms.membership,
  });
  return { sync, users };
}
