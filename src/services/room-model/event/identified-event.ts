import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import type { StoredEvent } from './stored-event.ts';

/** A stored event as the authorization rules and state resolution look at it. */
export const identified = (event: StoredEvent): IdentifiedPdu => ({
  eventId: event.eventId,
  pdu: event.pdu,
  rejected: (event.flags & EVENT_FLAGS.rejected) !== 0,
});
