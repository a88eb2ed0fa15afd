import { EventFollower, type EventFollowerOptions } from '#src/services/events/stream/event-follower.ts';
import type { Platform } from '../ground/platform.ts';
import type { Commit } from './commit.ts';
import type { EventStreaming } from './event-stream.ts';
import type { RoomModel } from './room-model.ts';

/** What followers need to read the event stream. */
type Followed = Platform & Commit & RoomModel & EventStreaming;

/** The parts of a follower: its name, the events it wants, and what it does with them. */
type FollowerDeclaration = Omit<EventFollowerOptions, keyof Followed>;

/** A follower, and its end. */
export interface ComposedFollower {
  readonly follower: EventFollower;
  /** Processes what is committed by now; what comes after it is left to the next process. */
  close(): Promise<void>;
}

/** Makes a follower of the events of all rooms. */
export function composeFollower(below: Followed, declaration: FollowerDeclaration): ComposedFollower {
  const { clock, database, interner, loader, logger, metrics, rooms, stream, timers, writer } = below;
  const parts = { clock, database, interner, loader, logger, metrics, rooms, stream, timers, writer };
  const follower = new EventFollower({ ...parts, ...declaration });
  return {
    follower,
    async close() {
      await writer.idle();
      await follower.close();
    },
  };
}
