import { MEMBER } from '#src/protocol/events/event-types.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { ErasedSenders } from './erased-senders.ts';
import type { VisibleEvent } from './visible-event.ts';

/** Whether a user was in the room at a position. */
type WasJoined = (position: number) => boolean;

/**
 * Events of users whose content was erased are shown in their redacted form to users who were not in the room then: "any users (or servers)
 * which join the room after the erasure request are served redacted copies of the events sent by this account". What makes up the room as
 * it is now (its name, its rules, its encryption; not its members) is the room's, and stays as it is for all. POST /account/deactivate.
 */
export class ErasedContent {
  readonly #erased: ErasedSenders;

  constructor(erased: ErasedSenders) {
    this.#erased = erased;
  }

  /** Whether any of these events is, or shows something, of an erased user. */
  concerns(visible: readonly VisibleEvent[]): boolean {
    return !this.#erased.isEmpty && visible.some(({ event }) => this.#isOfErased(event));
  }

  /** The events with those of erased users reduced. Current state is not reduced: it belongs to the room. */
  reduced(room: Room, visible: VisibleEvent[], wasJoined: WasJoined): VisibleEvent[] {
    if (!this.concerns(visible)) return visible;
    const isHidden = (event: StoredEvent | undefined): event is StoredEvent =>
      event !== undefined && this.#erased.has(event.sender) && !wasJoined(event.nid);
    return visible.map((one) => {
      const { event, membership } = one;
      const { previous, redactedBecause: because } = event;
      const isOfRoom = event.type !== MEMBER && isInForce(room, event);
      const hidesPrevious = one.hidesPrevious === true || isHidden(previous);
      if (isHidden(event) && membership !== 'join' && !isOfRoom)
        return { event: event.redactedCopy(), membership, hidesPrevious, isReduced: true };
      if (isHidden(because))
        return { event: event.redactedAs(because.redactedCopy()), membership, hidesPrevious, isReduced: true };
      return isHidden(previous) ? { event, membership, hidesPrevious, isReduced: true } : one;
    });
  }

  #isOfErased({ sender, previous, redactedBecause }: StoredEvent): boolean {
    return [sender, previous?.sender, redactedBecause?.sender].some(
      (one) => one !== undefined && this.#erased.has(one),
    );
  }
}

/** Whether an event is what the room's state says now. */
const isInForce = (room: Room, event: StoredEvent): boolean =>
  event.stateKey !== undefined && room.stateEvent(event.type, event.stateKey)?.nid === event.nid;
