import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Membership } from '#src/services/room-model/room/membership.ts';

/** An event that a user may see, with their membership at the event, changes by the event itself included (`unsigned.membership`). */
export interface VisibleEvent {
  readonly event: StoredEvent;
  readonly membership: Membership | undefined;
  /** The user may not see the state that the event replaced: `prev_content` and the like are left out. */
  readonly hidesPrevious?: boolean;
  /** It is reduced for this user: the text for others must not be used. */
  readonly isReduced?: boolean;
}
