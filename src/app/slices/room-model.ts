import { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { WholeState } from '#src/services/room-model/room/whole-state.ts';
import { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';

/** Rooms in memory, their events and their states. */
export interface RoomModel {
  readonly loader: EventLoader;
  readonly states: StateStore;
  readonly rooms: RoomRegistry;
  readonly wholeState: WholeState;
}

export function composeRoomModel({ config, database, interner, timers }: Platform & Commit): Slice<RoomModel> {
  const loader = new EventLoader(database, config.cache.eventsBytes);
  const states = new StateStore(database, config.cache.statesBytes);
  const rooms = new RoomRegistry(database, interner, loader, states, config.cache.roomsBytes);
  return {
    name: 'room-model',
    services: { loader, states, rooms, wholeState: new WholeState(timers) },
    rest: () => loader.shrink(),
  };
}
