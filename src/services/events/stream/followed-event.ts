import type { Room } from '#src/services/room-model/room/room.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';

/** A committed event as a follower gets it. */
export interface FollowedEvent {
  readonly room: Room;
  readonly event: StoredEvent;
  /** It was hidden until now, or could not be processed: what came after it was processed before. */
  readonly isLate?: boolean;
}
