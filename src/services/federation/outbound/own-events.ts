import { EVENT_FLAGS, HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';

/**
 * Whether this server sends an event to the others in its room: it is of a local user, or a join or leave of a remote user that was made through this server.
 * The join with which this server entered the room (`afterGap`) is sent by the server that it joined through.
 */
export const isOurs = (event: StoredEvent, isLocal: (userId: string) => boolean): boolean =>
  (event.flags & (HIDDEN_FLAGS | EVENT_FLAGS.afterGap)) === 0 &&
  ((event.flags & EVENT_FLAGS.sentOn) !== 0 || isLocal(event.sender));
