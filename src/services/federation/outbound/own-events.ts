import { EVENT_FLAGS, HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';

/**
 * Whether this server sends an event to the others in its room: it is of one of its users, or of another server's whom it let in, or out.
 * With which of ours it came into a room (`afterGap`), those who were there tell the others.
 */
export const isOurs = (event: StoredEvent, isLocal: (userId: string) => boolean): boolean =>
  (event.flags & (HIDDEN_FLAGS | EVENT_FLAGS.afterGap)) === 0 &&
  ((event.flags & EVENT_FLAGS.sentOn) !== 0 || isLocal(event.sender));
